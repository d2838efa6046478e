"""A newsletter (CSV, `staffetta send`) and mail from smtp-source arrive once, over few connections, from the bound addresses."""

import time

from harness import campaign
from harness.engine import SOURCES, Engine, balances, route
from harness.inject import smtp_source
from harness.receivers import Sink, SmtpSink, Watch
from harness.stage import Failed, need

CONNECTIONS = 20
LIMITS = f'\n[provider.routed]\nconnections = {CONNECTIONS}\nmessages_per_connection = 1000000\n'
BOUND = {"127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5"}


def run(stage):
    need("smtp-source", "smtp-sink")
    recording(stage)
    counting(stage)


def recording(stage):
    stage.say("into a receiver that records every recipient")
    sink = Sink(stage)
    engine = Engine(stage, SOURCES + route(sink.port) + LIMITS)
    engine.start()
    watch = Watch(sink.port)
    sent, seconds = load(stage, engine)
    book = sink.settled()
    watch.stop()
    listed = stage.options.recipients
    readers = sum(1 for address in book.arrivals if address.startswith("r"))
    letters = len(book.arrivals) - readers
    repeated = sum(count - 1 for count in book.arrivals.values())
    stage.fact("every recipient got it once", letters == sent and readers == listed and repeated == 0,
               smtp_source=letters, campaign=readers, repeated=repeated, seconds=round(seconds, 1),
               per_second=round((sent + listed) / seconds))
    peaks = max(book.peak.values())
    stage.fact(f"at most {CONNECTIONS} connections from a source", peaks <= CONNECTIONS and max(watch.peak.values()) <= CONNECTIONS,
               peak_by_source=dict(book.peak), peak_in_kernel=dict(watch.peak))
    stage.fact("connections are reused", book.connections <= 4 * CONNECTIONS * 3, connections=book.connections,
               messages_per_connection=round(book.messages / max(1, book.connections)))
    stage.fact("the receiver sees the bound addresses", set(book.by_ip) <= BOUND and len(book.by_ip) >= 3,
               messages_by_source=dict(book.by_ip))
    ledger_is_right(stage, engine, sent + listed)
    status, stopped = engine.stop()
    stage.fact("SIGTERM ends it with status 0", status == 0, status=status, seconds=round(stopped, 2))


def counting(stage):
    stage.say("into Postfix's smtp-sink")
    sink = SmtpSink(stage)
    engine = Engine(stage, SOURCES + route(sink.port) + LIMITS, name="engine-2")
    engine.start()
    watch = Watch(sink.port)
    sent, seconds = load(stage, engine, "send-2")
    time.sleep(0.5)
    watch.stop()
    counts, expected = sink.counts(), sent + stage.options.recipients
    stage.fact("smtp-sink counted every message once", counts.get("mesg") == expected, **counts, expected=expected,
               seconds=round(seconds, 1), per_second=round(expected / seconds))
    stage.fact(f"at most {CONNECTIONS} connections from a source", 0 < max(watch.peak.values()) <= CONNECTIONS,
               peak_in_kernel=dict(watch.peak), peak=watch.peak_all)
    stage.fact("the bound addresses were used", set(watch.peak) <= BOUND and len(watch.peak) >= 3, seen=sorted(watch.peak))
    ledger_is_right(stage, engine, expected)
    engine.stop()


def load(stage, engine, name="send"):
    """Campaign and smtp-source at the same time, until nothing waits; gives smtp-source's messages and seconds."""
    template, recipients = campaign.write(stage, stage.options.recipients)
    began = time.monotonic()
    sending = campaign.send(stage, engine, template, recipients, name=name)
    sent, injected = smtp_source(stage, engine, stage.options.messages)
    stage.say(f"smtp-source took {injected:.1f} s for {sent:,} messages")
    status = sending.wait(stage.options.seconds)
    report = campaign.report(stage, name)
    stage.fact("`staffetta send` ends with status 0 and says so", status == 0 and
               report.get("counts", {}).get("delivered") == stage.options.recipients, status=status, counts=report.get("counts"),
               error=stage.path(f"{name}.err").read_text()[-300:])
    if status:
        raise Failed("the campaign was not sent")
    engine.wait_empty(300, sent + stage.options.recipients)
    return sent, time.monotonic() - began


def ledger_is_right(stage, engine, accepted):
    ledger = engine.ledger()
    stage.fact("the ledger balances", balances(ledger) and ledger["accepted"] == ledger["delivered"] == accepted, **ledger)
