"""Runs checks one after another, whatever happens in them, and prints what they found."""

import argparse
import importlib
import json
import pathlib
import sys
import time
import traceback

from .stage import Failed, Skipped, Stage


def reader_of(description, binary):
    """The options that all programs with checks have."""
    reader = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("--binary", default=str(binary))
    reader.add_argument("--json", action="store_true", help="one JSON object per fact and per check")
    reader.add_argument("--list", action="store_true", help="say what each check proves, and end")
    reader.add_argument("--keep", action="store_true", help="keep the temporary directories")
    return reader


def parse(reader, names):
    """Reads the command line; the checks to run are in `names` of what it gives."""
    reader.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(names)} [all]")
    options = reader.parse_args()
    for name in options.names:
        if name not in names:
            reader.error(f"there is no check `{name}`")
    options.names = options.names or names
    return options


def run(options, all_names):
    """Runs the checks that are asked for; gives the exit status."""
    if options.list:
        for name in all_names:
            print(f"{name:15} {check_of(name).__doc__.strip()}")
        return 0
    if not pathlib.Path(options.binary).is_file():
        print(f"{options.binary} is not there: build it with `cargo build --release -p staffetta`", file=sys.stderr)
        return 2
    options.binary = str(pathlib.Path(options.binary).resolve())
    results = [(name, perform(name, options)) for name in options.names]
    if not options.json:
        print("\n" + "  ".join(f"{name} {result}" for name, result in results))
    return 1 if any(result == "FAIL" for _, result in results) else 0


def check_of(name):
    return importlib.import_module(f"checks.{name}")


def perform(name, options):
    """Runs one check to its end, whatever happens in it."""
    check = check_of(name)
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
