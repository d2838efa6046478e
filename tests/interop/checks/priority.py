"""50,000 bulk messages wait on a path of 100/s: a critical one leaves within 1 s, and another domain is not slowed."""

import smtplib
import statistics
import time

from harness import campaign
from harness.engine import Engine, balances, route
from harness.inject import Injector
from harness.receivers import Sink

SLOW = '\n[provider.slow]\ndomains = ["slow.test"]\nrate = "100/s"\nconnections = 4\n'
MESSAGES, ROUNDS = 4_000, 3


def run(stage):
    sink = Sink(stage)
    engine = Engine(stage, route(sink.port) + SLOW)
    engine.start()
    before = [fast(stage, engine, sink, f"before{n}-") for n in range(ROUNDS)]
    backlog = stage.options.backlog
    listed = "email,name,city,points,code,since\n" + "".join(f"w{n}@slow.test,N,C,1,{n},2020\n" for n in range(backlog))
    template, _ = campaign.write(stage, 1)
    sending = campaign.send(stage, engine, template, stage.write("slow.csv", listed), "--detach")
    status = sending.wait(120)
    stage.wait("the first of the backlog", lambda: slow_arrivals(sink) > 0, 20)
    began, at_first = time.monotonic(), slow_arrivals(sink)
    waiting = engine.ledger()["queued"]
    stage.fact("the backlog waits", status == 0 and waiting > backlog * 0.9, queued=waiting)
    delays = [critical(stage, engine, sink, n) for n in range(5)]
    stage.fact("a critical message leaves within 1 s", max(delays) < 1.0, longest_seconds=round(max(delays), 3),
               seconds=[round(delay, 3) for delay in delays])
    after = [fast(stage, engine, sink, f"after{n}-") for n in range(ROUNDS)]
    rate = (slow_arrivals(sink) - at_first) / (time.monotonic() - began)
    stage.fact("the slow path keeps to its rate", 80 <= rate <= 110, per_second=round(rate, 1))
    ratio = statistics.median(after) / statistics.median(before)
    stage.fact("another domain is not slowed", ratio > 0.75, ratio=round(ratio, 3), without_backlog=list(map(round, before)),
               with_backlog=list(map(round, after)))
    delays = [critical(stage, engine, sink, n) for n in range(5, 8)]
    stage.fact("and still within 1 s", max(delays) < 1.0, seconds=[round(delay, 3) for delay in delays])
    ledger = engine.ledger()
    stage.fact("the ledger balances", balances(ledger), **ledger)
    status, seconds = engine.stop()
    stage.fact("SIGTERM ends it with status 0", status == 0, seconds=round(seconds, 2))


def slow_arrivals(sink):
    return sum(1 for address in sink.read().arrivals if address.endswith("@slow.test"))


def fast(stage, engine, sink, name):
    """Messages per second from the first submission to the last arrival, to domains that are not limited."""
    began = time.time()
    injector = Injector(engine.smtp, MESSAGES, name=name, size=1024)
    stage.wait("the injection", injector.done, 120)
    stage.wait("the arrivals", lambda: all(one in sink.read().arrivals for one in injector.acknowledged), 60)
    last = max(sink.book.times[one] for one in injector.acknowledged)
    return len(injector.acknowledged) / (last - began)


def critical(stage, engine, sink, number):
    """Seconds from the 250 to the arrival of a critical message on the slow path."""
    to = f"code{number}@slow.test"
    text = f"From: ann@codes.test\r\nTo: {to}\r\nSubject: your code\r\nX-Staffetta-Class: critical\r\n\r\n123456\r\n"
    with smtplib.SMTP("127.0.0.1", engine.smtp, timeout=20) as client:
        client.sendmail("ann@codes.test", [to], text)
        accepted = time.time()
    stage.wait("a critical message", lambda: to in sink.read().arrivals, 60)
    return max(0.0, sink.book.times[to] - accepted)
