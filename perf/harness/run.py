"""One run: a fresh sender and a fresh sink, the load of the scenario, and the proof that everything arrived once."""

import time

from . import campaign, idle, load, stage
from .meter import Meter
from .sink import Sink

HEADERS_MAX = 4096
"""Bytes that a sender may add to a message: trace, signature."""
SIGNATURE_MIN = 300
"""Bytes that an RSA-2048 signature adds at least: 344 of them are the signature itself."""
OPEN_MIN = 0.95
"""Part of the connections that must be open when the figures of a settled queue begin."""


def measure(options, scenario, sender_class, rate=0.0):
    """The figures of one run; a stage.Void when they mean nothing. `rate` is the pace, 0 as fast as it goes."""
    with stage.Stage(options) as place:
        run = Run(options, scenario, sender_class, place, rate)
        try:
            run.sender.start()
            figures = WORKLOADS[scenario.kind](run)
            figures.update(run.sender.figures())
            figures["messages"] = run.messages
            return figures
        finally:
            run.close()


class Run:
    """What the workloads work with."""

    def __init__(self, options, scenario, sender_class, place, rate):
        self.place, self.scenario, self.rate = place, scenario, rate
        self.messages = scenario.count(sender_class.name, options.quick)
        self.counts_calls, self.stacks = options.calls, options.stacks
        self.warm = 0
        self.sink = Sink(place, scenario)
        self.sender = sender_class(place, scenario, self.sink)

    def name(self):
        """Of its scenario, variant and sender."""
        return "-".join(filter(None, [self.scenario.name, self.scenario.variant, self.sender.name]))

    def close(self):
        """Ends the sender; the sink ends with the stage."""
        try:
            self.sender.stop()
        finally:
            self.sender.group.close()

    def inject(self, messages, first, rate=0.0, stamp=True):
        return load.inject(self.place, self.sender.port, self.scenario, messages, first, rate, stamp)

    def warm_up(self):
        """A few messages all the way: connections are open and code is in the caches."""
        self.warm = max(40, min(2000, self.messages // 10))
        self.inject(self.warm, 0, stamp=False)
        self.sink.wait(self.warm, self.scenario.patience_s)
        self.sender.settle(self.warm)

    def arrived(self, expected, bytes_min, bytes_max):
        """The sink has exactly so many messages, each once and whole."""
        # What is sent twice comes soon after.
        time.sleep(0.2)
        counts = self.sink.counts()
        for name, wanted in (("messages", expected), ("recipients", expected), ("duplicates", 0)):
            if counts[name] != wanted:
                raise stage.Void(f"{counts[name]} {name} in the sink instead of {wanted}")
        if counts["bytes_min"] < bytes_min or counts["bytes_max"] > bytes_max:
            raise stage.Void(f"messages of {counts['bytes_min']} to {counts['bytes_max']} bytes in the sink instead of {bytes_min} to {bytes_max}")
        return counts

    def arrived_whole(self):
        """The same for what was injected."""
        # The injector's message may be a byte shorter than it was told.
        least = self.scenario.message_bytes - 1 + (SIGNATURE_MIN if self.scenario.signed else 0)
        return self.arrived(self.warm + self.messages, least, self.scenario.message_bytes + HEADERS_MAX)


def relay(run):
    """SMTP in, SMTP out, at the same time: from the first MAIL to the last message in the sink."""
    run.warm_up()
    with Meter(run) as meter:
        injected = run.inject(run.messages, run.warm, run.rate)
        run.sink.wait(run.warm + run.messages, run.scenario.patience_s)
        run.sender.settle(run.warm + run.messages)
        figures = meter.read(run.messages, injected)
    counts = run.arrived_whole()
    seconds = counts["last_at_ms"] / 1000 - injected["begun_at_us"] / 1e6
    return {
        "msgs_per_s": round(run.messages / seconds, 1), **figures, "delivery_p50_ms": counts["delivery_ms"]["p50"],
        "delivery_p99_ms": counts["delivery_ms"]["p99"], "connections_out": counts["connections_peak"], "connections_made": counts["connections"],
    }


def accept(run):
    """SMTP in; nothing leaves."""
    run.warm_up()
    run.sender.hold()
    with Meter(run) as meter:
        injected = run.inject(run.messages, run.warm, run.rate)
        figures = meter.read(run.messages, injected)
    kept(run)
    if run.sink.counts()["messages"] != run.warm:
        raise stage.Void("mail left although it was held")
    return {"msgs_per_s": round(injected["per_second"], 1), **figures}


def send(run):
    """SMTP out of a queue that is full before the first message may leave: from the first arrival to the last."""
    run.warm_up()
    run.sender.hold()
    with Meter(run) as meter:
        injected = run.inject(run.messages, run.warm)
        filling = meter.read(run.messages, injected)
    kept(run)
    figures, first, released_ms = settled(run) if run.scenario.settle else drain(run)
    counts = run.arrived_whole()
    # So few that all were there at the first look: waking up is in the figure.
    since, before = (first["last_at_ms"], first["messages"]) if first["messages"] < counts["messages"] else (released_ms, run.warm)
    seconds = max(counts["last_at_ms"] - since, 1) / 1000
    figures["anon_growth_mb"] = round(figures["anon_mb"] - filling["anon_mb"] + filling["anon_growth_mb"], 1)
    return {
        "msgs_per_s": round((counts["messages"] - before) / seconds, 1), **figures,
        "fill_msgs_per_s": round(injected["per_second"], 1), "fill_cpu_us_per_msg": filling["cpu_us_per_msg"],
        "fill_accept_p99_ms": filling["accept_p99_ms"], "connections_out": counts["connections_peak"], "connections_made": counts["connections"],
    }


def drain(run):
    """All of the queue: what it cost, what the sink had at the first look, and when it was released."""
    with Meter(run) as meter:
        run.sender.release()
        released_ms = time.time() * 1000
        first = run.sink.wait_first(run.warm, run.scenario.patience_s)
        run.sink.wait(run.warm + run.messages, run.scenario.patience_s)
        run.sender.settle(run.warm + run.messages)
        return meter.read(run.messages), first, released_ms


def settled(run):
    """The same of what is left when the first `settle` have come: connections are open then."""
    run.sender.release()
    run.sink.wait(run.warm + run.scenario.settle, run.scenario.patience_s)
    with Meter(run) as meter:
        first, begun_ms, delivered = run.sink.counts(), time.time() * 1000, run.sender.delivered()
        run.sink.wait(run.warm + run.messages, run.scenario.patience_s)
        run.sender.settle(run.warm + run.messages)
        # A message that is under way has had about half of its work.
        done = first["messages"] if delivered is None else (first["messages"] + delivered) / 2
        figures = meter.read(run.warm + run.messages - done)
    figures["connections_settled"] = first["connections_open"]
    if figures["connections_settled"] < OPEN_MIN * run.scenario.connections_out:
        raise stage.Void(f"{first['connections_open']} connections were open instead of {run.scenario.connections_out}")
    return figures, first, begun_ms


def kept(run):
    """The sender says that it has all that was injected."""
    queued = run.sender.queued()
    if queued is not None and queued != run.messages:
        raise stage.Void(f"{queued} messages in its queue instead of {run.messages}")


def newsletter(run):
    """A list for a template; a sender that has no templates gets every message rendered, by SMTP."""
    return campaign.send(run) if run.sender.name == "staffetta" else relay(run)


WORKLOADS = {"relay": relay, "accept": accept, "send": send, "campaign": newsletter, "idle": idle.idle}
