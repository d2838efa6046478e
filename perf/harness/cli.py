"""The command line of `perf/run`."""

import argparse
import json
import pathlib
import resource
import signal
import sys

from . import build, facts, record, report, scenario, senders, session, stage

RUNS, QUICK_RUNS = 5, 3
DATA = "/var/tmp"
"""On a disk nearly everywhere, where /tmp is often memory."""


def arguments(words):
    parser = argparse.ArgumentParser(
        prog="perf/run", description="Measures the engine beside the mail engines that are installed, in turns, with the same injector and sink.")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_RUNS} runs instead of {RUNS}, with fewer messages")
    parser.add_argument("--scenario", action="append", metavar="NAME", help="only this one; may be given several times; `list` lists them")
    parser.add_argument("--json", action="store_true", help="the figures as JSON on stdout instead of tables; progress is on stderr anyway")
    parser.add_argument("--runs", type=positive, help="runs of each sender in each scenario")
    parser.add_argument("--messages", type=positive, help="so many messages in every run: to see that it works, not how fast")
    parser.add_argument("--record", type=pathlib.Path, metavar="DIR", help="also write figures, tables and charts there (perf/record)")
    parser.add_argument("--sender", action="append", choices=list(senders.ALL), help="only this one; may be given several times")
    parser.add_argument("--calls", action="store_true", help="also count the engines' system calls (perf stat, as root); CPU is a little more then")
    parser.add_argument("--stacks", type=pathlib.Path, metavar="DIR", help="also sample the engines' stacks (perf record, as root) and write them there, "
        "those of the last run, folded and as a flame graph")
    parser.add_argument("--kumomta", type=pathlib.Path, metavar="PATH", help="a kumod to measure too")
    add_common(parser)
    options = parser.parse_args(words)
    options.runs = options.runs or (QUICK_RUNS if options.quick else RUNS)
    options.kumomta = options.kumomta.resolve() if options.kumomta else None
    if options.kumomta and not options.kumomta.exists():
        parser.error(f"there is no {options.kumomta}")
    if not options.data.is_dir():
        parser.error(f"--data {options.data} is not a directory")
    if options.stacks and not options.stacks.is_dir():
        parser.error(f"--stacks {options.stacks} is not a directory")
    asked = options.sender or [name for name in senders.ALL if options.kumomta or not name.startswith("kumomta")]
    options.senders = [name for name in senders.ALL if name in asked]
    return options, parser


def add_common(parser):
    """What every measurement can be told."""
    parser.add_argument("--profile", default="release", help="cargo profile of our programs [release]; `fast` builds in less time and is slower")
    parser.add_argument("--bin", type=pathlib.Path, metavar="DIR", help="take our programs from there, build nothing")
    parser.add_argument("--cpus", default="", metavar="LIST", help="processors that everything shares, as for taskset [all]")
    parser.add_argument("--data", type=pathlib.Path, default=pathlib.Path(DATA), metavar="DIR", help=f"where the spools are put [{DATA}]")
    parser.add_argument("--note", default="", help="text kept with the figures")


def positive(text):
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def choose(options, parser):
    """The scenarios that were asked for, or all but the extra ones."""
    known = scenario.load()
    if options.scenario == ["list"]:
        for name, (base, *_) in known.items():
            print(f"{name:20} {base.title}{' (only by name)' if base.extra else ''}")
        sys.exit(0)
    unknown = sorted(set(options.scenario or []) - set(known))
    if unknown:
        parser.error(f"no scenario {', '.join(unknown)}; there are {', '.join(known)}")
    chosen = {name: variants for name, variants in known.items() if (name in options.scenario if options.scenario else not variants[0].extra)}
    if options.messages:
        chosen = {name: [scenario.scaled(one, options.messages) for one in variants] for name, variants in chosen.items()}
    return chosen


def main(words=None):
    options, parser = arguments(words)
    chosen = choose(options, parser)
    allow_files()
    # Asked to end, it ends what it has started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    options.bin = build.programs(options, ["staffetta", "inject"])
    machine = facts.facts(options)
    try:
        tools = session.ceilings(options, chosen)
    except stage.Void as void:
        sys.exit(f"perf/run: the tools alone do not work: {void}")
    outcomes = session.play(options, chosen)
    result = report.build(options, chosen, machine, tools, outcomes)
    if options.record:
        record.write(options.record, result)
    print(json.dumps(result) if options.json else report.text(result))
    return 1 if any(outcome.void for outcome in outcomes.values()) else 0


def allow_files():
    """Senders and sink need a file for each connection, and inherit this limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
