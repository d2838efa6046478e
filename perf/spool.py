#!/usr/bin/env python3
"""Spool: the log beside the bare disk, ways to write, starts, reclaim, and what waiting recipients cost in memory."""

import argparse
import json
import statistics
import subprocess
import sys

sys.dont_write_bytecode = True
from harness import build, cli, facts, stage  # noqa: E402  (no compiled files in the tree)

RESULTS = stage.ROOT / "perf" / "results" / "spool.jsonl"

MEMORY = {
    "scheduled": (["--how", "scheduled"], []),
    "scheduled_small_pages": (["--how", "scheduled", "--small-pages"], []),
    "held_small_pages": (["--how", "held", "--small-pages"], []),
    "ready_small_pages": (["--how", "ready", "--small-pages"], []),
    "deferred_small_pages": (["--how", "scheduled", "--small-pages"], ["--deferred"]),
}


def append(run, options):
    """Append and commit at group sizes from 1 to 4096, beside pwrite and fdatasync of the same bytes."""
    return rounds(run, "append", "--data", run.dir, "--rounds", options.runs)


def paths(run, options):
    """The experiment of docs/decisions/0001-write-path.md."""
    return rounds(run, "paths", "--data", run.dir, "--rounds", options.runs)


def recover(run, options):
    """A start with a million recipients of a campaign."""
    rounds(run, "fill", "--dir", run.dir, "--recipients", options.recipients)
    return rounds(run, "recover", "--dir", run.dir, "--rounds", options.runs)


def recover_messages(run, options):
    """A start with 1 GiB of 10 KiB messages."""
    rounds(run, "fill", "--dir", run.dir, "--recipients", options.messages, "--message-bytes", 10_240)
    return rounds(run, "recover", "--dir", run.dir, "--rounds", options.runs)


def reclaim(run, options):
    """Steady load with and without reclaim, at the engine's pace and at a quicker one."""
    results = []
    for number in range(options.runs):
        result = {}
        for name, tick_ms in (("engine", 2000), ("quick", 250)):
            line = rounds(run, "reclaim", "--data", run.dir, "--rounds", 1, "--tick-ms", tick_ms)[0]
            result.update({f"{name}_{key}": value for key, value in line.items()})
        results.append(result)
        print(f"run {number + 1}: {json.dumps(result)}", flush=True)
    return results


def memory(run, options):
    """Ten million recipients in two logs and two queues."""
    results = [{} for _ in range(options.runs)]
    filled = set()
    for name, (how, filling) in MEMORY.items():
        place = run.dir / ("deferred" if filling else "untried")
        if place not in filled:
            filled.add(place)
            rounds(run, "fill", "--dir", place, "--shards", 2, "--recipients", options.waiting, *filling)
        for result in results:
            line = rounds(run, "memory", "--dir", place, *how)[0]
            result.update({f"{name}_{key}": value for key, value in line.items()})
    return results


MEASUREMENTS = {
    "append": append,
    "paths": paths,
    "recover": recover,
    "recover-messages": recover_messages,
    "reclaim": reclaim,
    "memory": memory,
}


def rounds(run, *arguments):
    """What one call printed: a line for each round."""
    done = subprocess.run(run.tool("spool-bench", *arguments), capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"spool-bench {arguments[0]} failed: {done.stderr}")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return [{name: value for name, value in line.items() if name != "round"} for line in lines]


def options_of():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="*", metavar="WHAT", help=f"any of {', '.join(MEASUREMENTS)}; default: all")
    parser.add_argument("--recipients", type=cli.positive, default=1_000_000, help="of the campaign that is recovered")
    parser.add_argument("--messages", type=cli.positive, default=100_000, help="of 10 KiB that are recovered")
    parser.add_argument("--waiting", type=cli.positive, default=10_000_000, help="recipients whose memory is measured")
    parser.add_argument("--runs", type=cli.positive, default=5)
    parser.add_argument("--no-record", action="store_true", help="print the result, do not add it to perf/results")
    cli.add_common(parser)
    options = parser.parse_args()
    unknown = set(options.what) - set(MEASUREMENTS)
    if unknown:
        parser.error(f"there is no {', '.join(unknown)}")
    options.senders, options.kumomta = [], None
    options.bin = build.programs(options, ["spool-bench"])
    return options


def medians(runs):
    """The median of every number that all runs have."""
    names = [name for name, value in runs[0].items() if isinstance(value, (int, float))]
    return {name: round(statistics.median(run[name] for run in runs), 3) for name in names}


def main():
    options = options_of()
    machine = facts.facts(options)
    for name in options.what or MEASUREMENTS:
        print(f"{name}: {MEASUREMENTS[name].__doc__}", flush=True)
        with stage.Stage(options) as run:
            runs = MEASUREMENTS[name](run, options)
        parameters = {"measurement": name, "cpus": options.cpus}
        if name in ("recover", "recover-messages", "memory"):
            parameters |= {"recipients": options.recipients, "messages": options.messages, "waiting": options.waiting}
        result = {"scenario": "spool", "machine": machine, "parameters": parameters, "median": medians(runs), "runs": runs}
        if not options.no_record:
            with open(RESULTS, "a") as file:
                file.write(json.dumps(result) + "\n")
        print(json.dumps(result["median"], indent=2))


if __name__ == "__main__":
    main()
