"""The same load through a real Postfix as the next hop, by STARTTLS: all of it once, from the bound addresses."""

import time

from harness.engine import SOURCES, Engine, route
from harness.postfix import Postfix
from harness.receivers import Watch

from .newsletter import BOUND, CONNECTIONS, LIMITS, ledger_is_right, load


def run(stage):
    postfix = Postfix(stage)
    postfix.start()
    engine = Engine(stage, SOURCES + route(postfix.port, tls="opportunistic") + LIMITS)
    engine.start()
    watch = Watch(postfix.port)
    sent, seconds = load(stage, engine)
    watch.stop()
    expected = sent + stage.options.recipients
    arrived(stage, postfix, expected)
    repeated = sum(count - 1 for count in postfix.sent.values())
    readers = sum(1 for address in postfix.sent if address.startswith("r"))
    stage.fact("Postfix delivered every recipient once", len(postfix.sent) == expected and repeated == 0, recipients=len(postfix.sent),
               campaign=readers, repeated=repeated, seconds=round(seconds, 1), per_second=round(expected / seconds))
    stage.fact(f"at most {CONNECTIONS} connections from a source", 0 < max(watch.peak.values()) <= CONNECTIONS,
               peak_in_kernel=dict(watch.peak))
    stage.fact("Postfix saw the bound addresses", set(postfix.by_ip) <= BOUND and len(postfix.by_ip) >= 3,
               messages_by_source=dict(postfix.by_ip))
    stage.fact("connections were encrypted", postfix.sessions_tls > 0, tls_sessions=postfix.sessions_tls)
    ledger_is_right(stage, engine, expected)
    engine.stop()


def arrived(stage, postfix, expected):
    """Waits until Postfix has worked off its queue, as long as it gets on."""
    before, since = -1, time.monotonic()
    while len(postfix.read().sent) < expected and time.monotonic() - since < 30:
        if len(postfix.sent) != before:
            before, since = len(postfix.sent), time.monotonic()
        time.sleep(0.5)
