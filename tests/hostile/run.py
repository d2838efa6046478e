#!/usr/bin/env python3
"""Hostile receivers: the engine's binary against servers that break every rule, and what becomes of each message.

    tests/hostile/run.py --tools DIR [--binary target/release/staffetta] [NAME...]

Each check prints what it found, and PASS, FAIL or SKIP. Exit status: 0 all passed or skipped, 1 one failed, 2 usage."""

import json
import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.dont_write_bytecode = True
sys.path[:0] = [str(HERE), str(HERE.parent / "interop")]

from harness import runner  # noqa: E402  (the path is set above)

NAMES = ["behaviours", "neighbours", "memory", "stopping", "netns"]


def main():
    reader = runner.reader_of(__doc__, HERE.parents[1] / "target/release/staffetta")
    reader.add_argument("--tools", metavar="DIR", default=os.environ.get("HOSTILE_TOOLS"),
                        help="where hostile_sink.py is [environment HOSTILE_TOOLS]")
    reader.add_argument("--only", metavar="TEXT", default="", help="of `behaviours` those with this in their name")
    reader.add_argument("--depth", type=int, default=8, help="messages on the wire of one connection [8]")
    reader.add_argument("--patience", type=int, default=180, help="seconds until everything must have ended [180]")
    reader.add_argument("--rounds", type=int, default=5, help="alternating measurements of `neighbours` [5]")
    reader.add_argument("--seconds", type=int, default=1800, help="most seconds that a check may take [1800]")
    options = runner.parse(reader, NAMES)
    if options.json and not options.list:
        tell(options)
    return runner.run(options, NAMES)


def tell(options):
    """What is run, so that it can be run again."""
    about, version = os.uname(), None
    if os.path.isfile(options.binary):
        version = subprocess.run([options.binary, "--version"], capture_output=True, text=True).stdout.strip()
    print(json.dumps({"checks": options.names, "depth": options.depth, "kernel": about.release,
                      "machine": about.machine, "processors": os.cpu_count(), "version": version}), flush=True)


if __name__ == "__main__":
    sys.exit(main())
