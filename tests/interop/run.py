#!/usr/bin/env python3
"""Acceptance checks: the release binary, driven as its users drive it, against software that was not written here.

    tests/interop/run.py [--binary target/release/staffetta] [NAME...]

Each check prints what it found, and PASS, FAIL or SKIP. Exit status: 0 all passed or skipped, 1 one failed, 2 usage."""

import os
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(HERE))

from harness import runner  # noqa: E402  (the path is set above)

NAMES = ["clients", "dkim", "newsletter", "relay", "crash_smtp", "crash_campaign", "priority", "config_errors", "unroutable",
         "lists", "refusals", "idle", "receivers"]


def main():
    reader = runner.reader_of(__doc__, HERE.parents[1] / "target/release/staffetta")
    reader.add_argument("--messages", type=int, default=20_000, help="messages of smtp-source [20000]")
    reader.add_argument("--recipients", type=int, default=100_000, help="recipients of the campaign [100000]")
    reader.add_argument("--backlog", type=int, default=50_000, help="waiting bulk messages of `priority` [50000]")
    reader.add_argument("--rounds", type=int, default=3, help="kills per load [3]")
    reader.add_argument("--each", type=int, default=2_000, help="messages at each depth of `receivers` [2000]")
    reader.add_argument("--mtas", metavar="DIR", default=os.environ.get("INTEROP_MTAS"),
                        help="where the packages of Exim and OpenSMTPD are unpacked, for `receivers` [environment INTEROP_MTAS]")
    reader.add_argument("--seconds", type=int, default=900, help="most seconds that a check may take [900]")
    return runner.run(runner.parse(reader, NAMES), NAMES)


if __name__ == "__main__":
    sys.exit(main())
