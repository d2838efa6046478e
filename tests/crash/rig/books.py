"""Counting: what was acknowledged, what arrived, and what that says."""

from harness.engine import Engine, balances, route
from harness.receivers import Sink
from harness.stage import Failed, end, free_port

# Retries at once, so that a check does not wait for a schedule.
SOON = "".join(f'\n[class.{name}]\nretry = ["1s"]\n' for name in ("critical", "transactional", "personal", "bulk"))


def base(data="data", segment="4MiB", min_free="16MiB"):
    """A configuration whose data may lie elsewhere; the control socket stays out of there, so that a broken disk does
    not break it."""
    return f"""\
[node]
name = "mx.staffetta.test"
data_dir = "{data}"
control = "control.sock"
shards = 2

[spool]
segment = "{segment}"
min_free = "{min_free}"

[[smtp_listener]]
address = "127.0.0.1:{{smtp}}"
trusted = ["127.0.0.0/8"]

[http]
address = "127.0.0.1:{{http}}"
"""


class Scene:
    """An engine with two receivers: mail for `open.test` is taken at once, mail for `held.test` waits until `open_doors`,
    because nobody listens there; `slow.test` is taken, at a limited rate."""

    DOMAINS = ("open.test", "held.test", "slow.test")

    def __init__(self, stage, name="engine", late=0.0, extra="", binary=None, environment=None, **disk):
        self.stage, self.held = stage, None
        self.door = free_port()
        self.sink = Sink(stage, "--check", "--dot-delay", str(late), name=f"{name}-sink")
        self.name = name
        self.engine = Engine(stage, route(self.sink.port) + route(self.door, "held.test") + SOON + extra, name=name,
                             base=base(**disk), binary=binary, environment=environment)

    def open_doors(self):
        if self.held is None:
            self.held = Sink(self.stage, "--check", name=f"{self.name}-held", listen=f"127.0.0.1:{self.door}")

    def books(self):
        return [sink.settled() for sink in (self.sink, self.held) if sink]

    def arrived(self):
        return {address for book in self.books() for address in book.arrivals}

    def drain(self, seconds=180):
        """Opens all doors and waits until nothing is queued; gives the ledger, of which a queue that stays is told."""
        self.open_doors()
        try:
            return self.engine.wait_empty(seconds)
        except Failed as error:
            self.stage.fact("the queue becomes empty", False, why=str(error)[:1500])
            return self.engine.ledger()

    def judge(self, load, prefix="", unproven=frozenset()):
        """Everything acknowledged arrived, unchanged, and nothing else; gives what was lost. Of what is `unproven` nothing is asked."""
        books = self.books()
        arrived = {address for book in books for address in book.arrivals}
        acknowledged = set(load.acknowledged) - unproven
        lost = acknowledged - arrived
        repeats = sum(len(book.repeats) for book in books)
        self.stage.fact(f"{prefix}every acknowledged message arrived", acknowledged and not lost, acknowledged=len(acknowledged),
                        by_smtp=load.ways["smtp"], by_http=load.ways["http"], broken_off=len(load.broken), refused=len(load.refused),
                        arrived=len(arrived), lost=len(lost), lost_ones=sorted(lost)[:5], duplicated=repeats)
        wrong = [address for book in books for address in book.wrong]
        self.stage.fact(f"{prefix}every message arrived as it was written", not wrong, wrong=len(wrong), first=wrong[:3])
        doubtful = len(load.doubtful & arrived)
        strangers = arrived - load.sent()
        self.stage.fact(f"{prefix}nothing arrived that was refused or never sent", not strangers, strangers=len(strangers),
                        first=sorted(strangers)[:3], refused_when_the_spool_broke=len(load.doubtful), of_those_arrived=doubtful)
        return lost

    def balances(self, ledger, load, prefix="", unproven=0):
        arrived = len(self.arrived())
        self.stage.fact(f"{prefix}the ledger balances and counts what was acknowledged and what arrived",
                        balances(ledger) and max(len(load.acknowledged), arrived) - unproven <= ledger["accepted"] <= len(load.sent()),
                        arrived=arrived, **ledger)

    def close(self):
        """Ends the engine and the receivers."""
        for process in (self.engine.process, self.sink.process, self.held and self.held.process):
            if process:
                end(process)
