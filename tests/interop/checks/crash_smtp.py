"""kill -9 while mail comes in by SMTP and goes out: every acknowledged message arrives, few arrive twice."""

from harness.engine import SOURCES, Engine, balances, route
from harness.inject import Injector
from harness.kills import Kills
from harness.receivers import Sink
from harness.stage import end

CONNECTIONS = 20
LIMITS = f'\n[provider.routed]\nconnections = {CONNECTIONS}\nmessages_per_connection = 1000000\n'
# Messages on the wire of a connection at a time: those have an unknown end when the engine is killed.
ONE, MANY = "pipeline_depth = 1\n", "pipeline_depth = 8\n"

# The receiver answers the final dot late, so that a kill finds many on their way.
LATE = ("--dot-delay", "0.004")
# After so many seconds a starting engine is killed again.
AGAIN = 0.1


def run(stage):
    stage.say("one message at a time on a connection")
    load(stage, ONE, 1)
    stage.say("eight messages at a time on a connection")
    load(stage, MANY, 8)


def load(stage, limit, depth):
    sink = Sink(stage, *LATE, name=f"sink-{depth}")
    engine = Engine(stage, SOURCES + route(sink.port) + LIMITS + limit, name=f"engine-{depth}")
    engine.start()
    messages, rounds = stage.options.messages, stage.options.rounds
    injector = Injector(engine.smtp, messages)
    kills = Kills(stage, engine, sink)
    for n in range(rounds):
        goal = messages * (n + 1) // (rounds + 1)
        stage.wait(f"{goal} acknowledged messages", lambda: len(injector.acknowledged) >= goal, 120, every=0.002)
        kills.kill(f"at {len(injector.acknowledged):,} acknowledged messages", AGAIN if n == rounds - 1 else None)
    stage.wait("the end of the injection", injector.done, 300)
    ledger = engine.wait_empty(300, len(injector.acknowledged))
    book = sink.settled()
    lost = injector.acknowledged - set(book.arrivals)
    stage.fact("every acknowledged message arrived", not lost and len(injector.acknowledged) > messages * 0.9,
               acknowledged=len(injector.acknowledged), broken_off=len(injector.broken), refused=len(injector.refused),
               arrived=len(book.arrivals), lost=len(lost), refusals=injector.refused[:2])
    strangers = set(book.arrivals) - injector.acknowledged - injector.broken
    stage.fact("nothing arrived that was not sent", not strangers, strangers=len(strangers))
    kills.judge(depth)
    unknown = len(injector.acknowledged) + len(injector.broken)
    stage.fact("the ledger balances and counts what was acknowledged",
               balances(ledger) and len(injector.acknowledged) <= ledger["accepted"] <= unknown
               and ledger["delivered"] == ledger["accepted"], **ledger)
    injector.stop()
    engine.stop()
    end(sink.process)
