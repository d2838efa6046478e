#!/usr/bin/env python3
"""Acceptance checks: the release binary, driven as its users drive it, against software that was not written here.

    tests/interop/run.py [--binary target/release/staffetta] [NAME...]

Each check prints what it found, and PASS, FAIL or SKIP. Exit status: 0 all passed or skipped, 1 one failed, 2 usage."""

import argparse
import importlib
import json
import pathlib
import sys
import time
import traceback

HERE = pathlib.Path(__file__).resolve().parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(HERE))

from harness.stage import Failed, Skipped, Stage  # noqa: E402  (the path is set above)

NAMES = ["clients", "dkim", "newsletter", "relay", "crash_smtp", "crash_campaign", "priority", "config_errors", "unroutable",
         "lists", "refusals", "idle"]


def arguments():
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("--binary", default=str(HERE.parents[1] / "target/release/staffetta"))
    reader.add_argument("--json", action="store_true", help="one JSON object per fact and per check")
    reader.add_argument("--list", action="store_true", help="say what each check proves, and end")
    reader.add_argument("--keep", action="store_true", help="keep the temporary directories")
    reader.add_argument("--messages", type=int, default=20_000, help="messages of smtp-source [20000]")
    reader.add_argument("--recipients", type=int, default=100_000, help="recipients of the campaign [100000]")
    reader.add_argument("--backlog", type=int, default=50_000, help="waiting bulk messages of `priority` [50000]")
    reader.add_argument("--rounds", type=int, default=3, help="kills per load [3]")
    reader.add_argument("--seconds", type=int, default=900, help="most seconds that a check may take [900]")
    reader.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)} [all]")
    options = reader.parse_args()
    for name in options.names:
        if name not in NAMES:
            reader.error(f"there is no check `{name}`")
    return options


def main():
    options = arguments()
    if options.list:
        for name in NAMES:
            print(f"{name:15} {importlib.import_module(f'checks.{name}').__doc__.strip()}")
        return 0
    if not pathlib.Path(options.binary).is_file():
        print(f"{options.binary} is not there: build it with `cargo build --release -p staffetta`", file=sys.stderr)
        return 2
    options.binary = str(pathlib.Path(options.binary).resolve())
    results = [(name, perform(name, options)) for name in options.names or NAMES]
    if not options.json:
        print("\n" + "  ".join(f"{name} {result}" for name, result in results))
    return 1 if any(result == "FAIL" for _, result in results) else 0


def perform(name, options):
    """Runs one check to its end, whatever happens in it."""
    check = importlib.import_module(f"checks.{name}")
    if not options.json:
        print(f"\n{name}: {check.__doc__.strip()}", flush=True)
    stage, began, why = Stage(name, options), time.monotonic(), ""
    try:
        check.run(stage)
        result = "PASS" if stage.facts and all(ok for _, ok in stage.facts) else "FAIL"
        why = "; ".join(fact for fact, ok in stage.facts if not ok)
    except Skipped as error:
        result, why = "SKIP", str(error)
    except Failed as error:
        result, why = "FAIL", str(error)
    except Exception:
        result, why = "FAIL", traceback.format_exc()
    finally:
        stage.close()
    seconds = time.monotonic() - began
    if options.json:
        print(json.dumps({"check": name, "result": result, "seconds": round(seconds, 1), "why": why}), flush=True)
    else:
        print(f"{result} {name} in {seconds:.1f} s" + (f": {why}" if why else ""), flush=True)
    return result


if __name__ == "__main__":
    sys.exit(main())
