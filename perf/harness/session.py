"""A session: the tools alone first, then rounds in which the senders take turns; medians and spread of what is not void."""

import dataclasses
import statistics
import sys
import traceback

from . import load, run, senders, stage
from .group import process_seconds
from .sink import Sink

CEILING_RUNS = 3
CEILING_MESSAGES = 60_000
QUICK_CEILING_MESSAGES = 20_000


class Outcome:
    """All runs of one sender in one variant of a scenario."""

    def __init__(self, scenario, sender):
        self.scenario, self.sender = scenario, sender
        self.runs, self.void, self.missing = [], [], None

    def median(self):
        """The median of each figure that every run has."""
        names = [name for name in self.runs[0] if all(isinstance(one.get(name), (int, float)) for one in self.runs)] if self.runs else []
        return {name: round(statistics.median(one[name] for one in self.runs), 3) for name in names}

    def spread(self, name="msgs_per_s"):
        """Lowest and highest."""
        found = [one[name] for one in self.runs]
        return [min(found), max(found)] if found else None


def say(text):
    print(text, file=sys.stderr, flush=True)


def ceilings(options, chosen):
    """What injector and sink reach with nothing between them, for each kind of message that the scenarios inject."""
    kinds = {}
    for base, *_ in chosen.values():
        if base.kind not in ("campaign", "idle"):
            kinds.setdefault((base.message_bytes, base.mode, base.connections_in), base)
    return [ceiling(options, scenario) for scenario in kinds.values()]


def ceiling(options, scenario):
    messages = options.messages or (QUICK_CEILING_MESSAGES if options.quick else CEILING_MESSAGES)
    found = []
    for _ in range(min(CEILING_RUNS, options.runs)):
        with stage.Stage(options) as place:
            plain = dataclasses.replace(scenario, tls=False, sink_latency_ms=0)
            sink = Sink(place, plain)
            told = load.inject(place, sink.port, plain, messages)
            cpu = process_seconds(sink.process.pid)
            counts = sink.wait(messages, 60)
            if counts["messages"] != messages or counts["duplicates"]:
                raise stage.Void(f"the tools alone lost or doubled messages: {counts}")
            found.append({
                "msgs_per_s": told["per_second"], "inject_cpu_us_per_msg": told["cpu_us_per_message"], "sink_cpu_us_per_msg": cpu * 1e6 / messages})
    middle = {name: round(statistics.median(one[name] for one in found), 2) for name in found[0]}
    say(f"tools alone, {scenario.message_bytes} bytes: {middle['msgs_per_s']:,.0f}/s")
    return {"message_bytes": scenario.message_bytes, "mode": scenario.mode, "connections": scenario.connections_in, "messages": messages, **middle}


def play(options, chosen):
    """Runs everything: outcomes by (scenario, variant, sender), in order."""
    outcomes = {}
    for variants in chosen.values():
        for scenario in variants:
            for sender in options.senders:
                if scenario.concerns(sender):
                    outcomes[scenario.name, scenario.variant, sender] = begin(options, scenario, sender)
        for number in range(options.runs):
            # Who goes first changes, so that drift of the machine meets all.
            for sender in turn(options.senders, number):
                for scenario in variants:
                    outcome = outcomes.get((scenario.name, scenario.variant, sender))
                    if outcome and not outcome.missing:
                        one_run(options, outcome, number, outcomes[scenario.name, "", sender])
    return outcomes


def begin(options, scenario, sender):
    outcome = Outcome(scenario, sender)
    outcome.missing = senders.ALL[sender].missing(options, scenario)
    if outcome.missing:
        say(f"{scenario.label}: {sender}: {outcome.missing}")
    return outcome


def turn(order, number):
    start = number % len(order)
    return order[start:] + order[:start]


def told(figures):
    """What a run is about, in a word."""
    if "idle_cpu_percent" in figures:
        return f"{figures['idle_cpu_percent']} % of a processor"
    return f"{figures['msgs_per_s']:,.0f}/s, {figures['cpu_us_per_msg']:,.1f} µs"


def one_run(options, outcome, number, base):
    scenario = outcome.scenario
    try:
        rate = 0.0
        if scenario.load < 1.0:
            if not base.runs:
                raise stage.Void("there is no full rate to take a part of")
            rate = base.median()["msgs_per_s"] * scenario.load
        figures = run.measure(options, scenario, senders.ALL[outcome.sender], rate)
        outcome.runs.append(figures)
        say(f"{scenario.label}: {outcome.sender} {number + 1}: {told(figures)}, {figures['rss_mb']:,.0f} MB, others {figures['other_cpu_share']:.0%}")
    except stage.Void as void:
        reason = str(void)
    except Exception as error:  # One run that goes wrong must not cost the session; it is shown, and fails the command.
        traceback.print_exc()
        reason = repr(error)
    else:
        return
    outcome.void.append(reason)
    say(f"{scenario.label}: {outcome.sender} {number + 1}: void: {reason}")
