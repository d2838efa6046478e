"""An idle engine sleeps; SIGTERM in the middle of work ends with status 0 and loses and repeats nothing."""

import time

from harness.engine import SOURCES, Engine, balances, route
from harness.inject import Injector
from harness.receivers import Sink

IDLE_SECONDS = 10


def run(stage):
    sink = Sink(stage)
    engine = Engine(stage, SOURCES + route(sink.port))
    engine.start()
    time.sleep(1)
    stage.fact("a fresh engine uses under 1 % of a core", (share := idle_share(engine)) < 0.01, percent=round(100 * share, 3),
               seconds=IDLE_SECONDS)
    messages = min(stage.options.messages, 10_000)
    injector = Injector(engine.smtp, messages)
    stage.wait("half of the messages", lambda: len(injector.acknowledged) >= messages // 2, 120, every=0.002)
    status, seconds = engine.stop()
    book = sink.settled()
    stage.fact("SIGTERM ends it with status 0", status == 0, status=status, seconds=round(seconds, 2),
               acknowledged=len(injector.acknowledged), arrived=len(book.arrivals))
    engine.start()
    stage.wait("the end of the injection", injector.done, 120)
    ledger = engine.wait_empty(120, len(injector.acknowledged))
    book = sink.settled()
    lost = injector.acknowledged - set(book.arrivals)
    stage.fact("nothing is lost and nothing repeated", not lost and not book.repeats, acknowledged=len(injector.acknowledged),
               broken_off=len(injector.broken), refused=len(injector.refused), arrived=len(book.arrivals), lost=len(lost),
               repeated=len(book.repeats), refusals=injector.refused[:2])
    stage.fact("the ledger balances", balances(ledger) and ledger["delivered"] == ledger["accepted"], **ledger)
    time.sleep(12)
    stage.fact("after work it sleeps again", (share := idle_share(engine)) < 0.01, percent=round(100 * share, 3),
               seconds=IDLE_SECONDS)
    injector.stop()
    engine.stop()


def idle_share(engine):
    """Cores used over some seconds in which nothing is asked of it."""
    before, began = engine.cpu_seconds(), time.monotonic()
    time.sleep(IDLE_SECONDS)
    return (engine.cpu_seconds() - before) / (time.monotonic() - began)
