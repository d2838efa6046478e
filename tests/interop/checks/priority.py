"""50,000 bulk messages wait on a path of 100/s: a critical one leaves within 1 s, and another domain is not slowed."""

import collections
import smtplib
import statistics
import time

from harness import campaign
from harness.engine import Engine, balances, route
from harness.inject import smtp_source
from harness.receivers import Sink

SLOW = '\n[provider.slow]\ndomains = ["slow.test"]\nrate = "100/s"\nconnections = 4\n'
MESSAGES, ROUNDS = 8_000, 5


def run(stage):
    sink, others, alone = (Sink(stage, name=name) for name in ("slow", "others", "alone"))
    engine = Engine(stage, route(sink.port, "slow.test") + route(others.port) + SLOW)
    # The same without a backlog, measured in turn with it, since the machine is not always equally fast.
    idle = Engine(stage, route(sink.port, "slow.test") + route(alone.port) + SLOW, name="idle")
    engine.start()
    idle.start()
    backlog = stage.options.backlog
    listed = "email,name,city,points,code,since\n" + "".join(f"w{n}@slow.test,N,C,1,{n},2020\n" for n in range(backlog))
    template, _ = campaign.write(stage, 1)
    sending = campaign.send(stage, engine, template, stage.write("slow.csv", listed), "--detach")
    status = sending.wait(120)
    stage.wait("the first of the backlog", lambda: sink.read().messages > 0, 20)
    began, at_first = time.monotonic(), sink.read().messages
    waiting = engine.ledger()["queued"]
    stage.fact("the backlog waits", status == 0 and waiting > backlog * 0.9, queued=waiting)
    delays = [critical(stage, engine, sink, n) for n in range(5)]
    stage.fact("a critical message leaves within 1 s", max(delays) < 1.0, longest_seconds=round(max(delays), 3),
               seconds=[round(delay, 3) for delay in delays])
    pairs = [(fast(stage, idle, alone), fast(stage, engine, others)) for _ in range(ROUNDS + 1)][1:]
    rate = (sink.read().messages - at_first) / (time.monotonic() - began)
    stage.fact("the slow path keeps to its rate", 80 <= rate <= 110, per_second=round(rate, 1))
    ratio = statistics.median(loaded.rate / free.rate for free, loaded in pairs)
    stage.fact("another domain is not slowed", ratio > 0.8, ratio=round(ratio, 3), without_backlog=[round(free.rate) for free, _ in pairs],
               with_backlog=[round(loaded.rate) for _, loaded in pairs],
               cpu_microseconds_without=[round(free.cpu) for free, _ in pairs], cpu_microseconds_with=[round(loaded.cpu) for _, loaded in pairs])
    delays = [critical(stage, engine, sink, n) for n in range(5, 8)]
    stage.fact("and still within 1 s", max(delays) < 1.0, seconds=[round(delay, 3) for delay in delays])
    ledger = engine.ledger()
    stage.fact("the ledger balances", balances(ledger), **ledger)
    status, seconds = engine.stop()
    stage.fact("SIGTERM ends it with status 0", status == 0, seconds=round(seconds, 2))
    idle.stop()


Speed = collections.namedtuple("Speed", "rate cpu")


def fast(stage, engine, sink):
    """Messages of smtp-source per second, from the first submission to the last arrival, to domains that are not limited; and the
    engine's CPU per message."""
    came, used, began = sink.settled().messages, engine.cpu_seconds(), time.monotonic()
    sent, _ = smtp_source(stage, engine, MESSAGES)
    stage.wait("the arrivals", lambda: sink.read().messages - came == sent, 120, every=0.01)
    return Speed(sent / (time.monotonic() - began), 1e6 * (engine.cpu_seconds() - used) / sent)


def critical(stage, engine, sink, number):
    """Seconds from the 250 to the arrival of a critical message on the slow path."""
    to = f"code{number}@slow.test"
    text = f"From: ann@codes.test\r\nTo: {to}\r\nSubject: your code\r\nX-Staffetta-Class: critical\r\n\r\n123456\r\n"
    with smtplib.SMTP("127.0.0.1", engine.smtp, timeout=20) as client:
        client.sendmail("ann@codes.test", [to], text)
        accepted = time.time()
    stage.wait("a critical message", lambda: to in sink.read().arrivals, 60)
    return max(0.0, sink.book.times[to] - accepted)
