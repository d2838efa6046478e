"""kill -9 while a list is handed over and while the campaign is sent: every recipient gets it, few get it twice."""

import shlex

from harness import campaign
from harness.engine import SOURCES, Engine, balances, route
from harness.kills import Kills
from harness.receivers import Sink
from harness.stage import Failed

from .crash_smtp import LATE, LIMITS, ONE

# Recipients that `send` hands over at once: a batch whose answer was lost is handed over again.
BATCH = 1_000


def run(stage):
    sink = Sink(stage, *LATE)
    engine = Engine(stage, SOURCES + route(sink.port) + LIMITS + ONE)
    engine.start()
    total = stage.options.recipients
    template, recipients = campaign.write(stage, total)
    kills = Kills(stage, engine, sink)
    # Paced, so that handing over and sending go on at the same time.
    sending = campaign.send(stage, engine, template, recipients, "--rate", f"{max(1000, total // 6)}/s")
    stage.wait("a third of the list", lambda: accepted(engine) >= total // 3, 120, every=0.02)
    kills.kill("while the list was handed over")
    status = sending.wait(60)
    said = stage.path("send.err").read_text()
    going_on = next((line.strip() for line in said.splitlines() if "staffetta send --campaign" in line), "")
    stage.fact("`send` fails and says how to go on", status == 1 and going_on, status=status, going_on=going_on)
    if not going_on:
        raise Failed(f"`send` did not say how to go on: {said[-500:]}")
    words = shlex.split(going_on)
    command = [stage.options.binary, *words[words.index("send"):]]
    out = open(stage.path("resume.out"), "wb")
    sending = stage.spawn(command, stdout=out, stderr=out)
    out.close()
    stage.wait("the whole list", lambda: accepted(engine) >= total, 120, every=0.02)
    for n in range(1, stage.options.rounds):
        # Somewhat further than the last kill, however far it had come until the list was complete.
        goal = delivered(engine) + (total - delivered(engine)) // 3
        stage.wait(f"{goal} deliveries", lambda: delivered(engine) >= goal, 300, every=0.02)
        kills.kill("while it was sent")
        if n == 1:
            stage.say(f"`send` ended with status {sending.wait(60)}")
    ledger = engine.wait_empty(600, total)
    book = sink.settled()
    wanted = {campaign.address(n) for n in range(total)}
    missing = wanted - set(book.arrivals)
    stage.fact("every recipient got it", not missing and set(book.arrivals) == wanted, recipients=len(book.arrivals),
               missing=len(missing))
    kills.judge()
    twice = sum(len(identities) - 1 for identities in book.identities.values())
    stage.fact("at most one batch was handed over twice", twice <= BATCH, recipients_handed_over_twice=twice)
    stage.fact("the ledger balances", balances(ledger) and ledger["delivered"] == ledger["accepted"] == total + twice, **ledger)
    engine.stop()


def accepted(engine):
    return engine.http_ask("GET", "/v1/ledger")[1]["accepted"]


def delivered(engine):
    return engine.http_ask("GET", "/v1/ledger")[1]["delivered"]
