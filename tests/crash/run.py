#!/usr/bin/env python3
"""Crash checks: the engine's binary under load, with its process killed, its power cut, its disk failing, full or copied.

    tests/crash/run.py [--binary target/release/staffetta] [--planted BINARY] [--faultfs PROGRAM] [--rounds N] [NAME...]

Each check prints what it found, and PASS, FAIL or SKIP. Exit status: 0 all passed or skipped, 1 one failed, 2 usage."""

import json
import os
import pathlib
import random
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.dont_write_bytecode = True
sys.path[:0] = [str(HERE), str(HERE.parent / "interop")]

from harness import runner  # noqa: E402  (the path is set above)

NAMES = ["kill", "power_cut", "faults", "full_disk", "second_engine", "backup"]


def main():
    reader = runner.reader_of(__doc__, HERE.parents[1] / "target/release/staffetta")
    reader.add_argument("--planted", metavar="BINARY", help="the engine built with `--features planted-bugs`, for the control of `power_cut`")
    reader.add_argument("--faultfs", metavar="PROGRAM", default=os.environ.get("FAULTFS"),
                        help="a FUSE file system that makes faults, for `faults` [environment FAULTFS]")
    reader.add_argument("--rounds", type=int, default=5, help="kills, cuts, copies per load [5]")
    reader.add_argument("--fills", type=int, default=20, help="how often `full_disk` fills the disk [20]")
    reader.add_argument("--only", metavar="TEXT", default="", help="of the disks of `power_cut` and `full_disk` and the cases of `faults`, those with this in their name")
    reader.add_argument("--seed", type=int, help="of all random moments and messages [random]")
    reader.add_argument("--seconds", type=int, default=3600, help="most seconds that a check may take [3600]")
    options = runner.parse(reader, NAMES)
    if options.seed is None:
        options.seed = random.SystemRandom().randrange(1 << 32)
    if not options.list:
        tell(options)
    return runner.run(options, NAMES)


def tell(options):
    """What is run, so that it can be run again."""
    if not options.json:
        print(f"seed {options.seed}: run again with --seed {options.seed}")
        return
    about = os.uname()
    version = None
    if os.path.isfile(options.binary):
        version = subprocess.run([options.binary, "--version"], capture_output=True, text=True).stdout.strip()
    print(json.dumps({"seed": options.seed, "rounds": options.rounds, "checks": options.names, "kernel": about.release,
                      "machine": about.machine, "processors": os.cpu_count(), "version": version}), flush=True)


if __name__ == "__main__":
    sys.exit(main())
