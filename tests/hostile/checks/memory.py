"""A reply of one line of 1 GiB, at every stage, over many connections at once: each is closed soon, and memory stays bounded."""

import threading
import time

from harness.engine import BASE, Engine, balances, route
from harness.receivers import Sink
from rig.flood import Flood
from rig.letters import Letter, expect, submit
from rig.processes import at_rest, resident, wait_for_sockets

STAGES = ["banner", "ehlo", "mail", "rcpt", "body"]
EACH = 10
# What may be read of one reply, and what the kernels of both sides may hold besides: the engine's receive buffer as it begins
# (128 KiB on Linux, which counts its own overhead as well) and the sender's.
REPLY_BYTES_MAX = 64 << 10
KERNEL_BYTES = 512 << 10
CONNECTION_BYTES_MAX = 1 << 20
SETTINGS = """
[class.transactional]
retry = ["2s"]
expiry = "25s"
[deliver]
tls = "off"
"""


def run(stage):
    floods = [Flood(name) for name in STAGES for _ in range(EACH)]
    for flood in floods:
        stage.closers.append(flood.close)
    routes = "".join(route(flood.port, f"c{number}.test") for number, flood in enumerate(floods))
    back = Sink(stage, name="back")
    engine = Engine(stage, SETTINGS + route(back.port, "back.test") + routes, base=BASE.replace('"64MiB"', '"32MiB"'))
    engine.start()
    opened = at_rest(engine.process.pid)
    letters = [Letter("ann@back.test", {f"v@c{number}.test": expect("waits")}) for number in range(len(floods))]
    start = time.time() + 3
    submit(engine, letters, start)
    before = resident(engine.process.pid)
    peak = Peak(engine.process.pid)
    stage.wait("the first reply of each receiver to be cut off", lambda: all(flood.ended for flood in floods), 60)
    time.sleep(1)
    grown = peak.stop() - before
    first = [flood.sent[0] for flood in floods]
    stage.fact("each connection is closed within 64 KiB read, and what the kernels hold", max(first) <= REPLY_BYTES_MAX + KERNEL_BYTES,
               receivers=len(floods), sent_at_most=max(first), sent_at_least=min(first))
    stage.fact("memory grows by less than 1 MiB for each of them", grown < CONNECTION_BYTES_MAX * len(floods),
               grown_bytes=grown, for_each=grown // len(floods))
    ledger = engine.wait_empty(60, accepted=2 * len(letters))
    stage.fact("the letters expire, their sender is told, and the ledger balances", balances(ledger) and ledger["expired"] == len(letters)
               and back.settled().messages == len(letters), reports=back.book.messages, **ledger)
    left = wait_for_sockets(engine.process.pid, opened["socket"], 20)
    stage.fact("every connection is closed at the end", left["socket"] <= opened["socket"], at_rest=dict(opened), left=dict(left),
               connections=sum(len(flood.sent) for flood in floods))
    status, _ = engine.stop()
    stage.fact("SIGTERM ends it with status 0", status == 0, status=status)


class Peak(threading.Thread):
    """Samples the memory of a process."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.most, self.ended = pid, 0, threading.Event()
        self.start()

    def run(self):
        while not self.ended.wait(0.02):
            self.most = max(self.most, resident(self.pid))

    def stop(self):
        self.ended.set()
        self.join()
        return self.most
