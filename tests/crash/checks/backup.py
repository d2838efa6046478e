"""A copy of data_dir taken under load by cp, tar or rsync opens, holds everything acknowledged before it began, and sends nothing until told."""

import random
import shutil
import time

from harness.engine import Engine, balances, route
from harness.receivers import Sink
from harness.stage import Failed
from rig.books import SOON, Scene, base
from rig.load import Load

COPIES = {"cp": lambda data, copy: ["cp", "-a", f"{data}/.", copy],
          "tar": lambda data, copy: ["sh", "-c", f"tar -C {data} -cf - . | tar -C {copy} -xf -"],
          "rsync": lambda data, copy: ["rsync", "-a", f"{data}/", f"{copy}/"]}
# What the copying programs say when a file vanished, changed or was a socket: the first is a reason to copy again.
VANISHED = ("No such file", "vanished", "File removed before")
QUIET_SECONDS = 3


def run(stage):
    chance = random.Random(f"{stage.options.seed} backup")
    scene = Scene(stage, data=stage.path("data"))
    scene.engine.start()
    load = Load(scene.engine, chance.randrange(1 << 32), domains=("held.test", "held.test", "open.test"), rest=0.002)
    tools = [name for name in COPIES if shutil.which(name)]
    for number in range(max(stage.options.rounds, len(tools))):
        tool = tools[number % len(tools)]
        time.sleep(chance.uniform(0.5, 1.5))
        copied(stage, load, tool, stage.path(f"copy-{number}"), f"copy {number + 1} by {tool}: ")
    load.stop()
    ledger = scene.drain()
    scene.judge(load, "the original: ")
    scene.balances(ledger, load, "the original: ")
    scene.engine.stop()
    scene.close()


def copied(stage, load, tool, folder, prefix):
    """Copies, starts the copy with receivers of its own, and counts what it holds."""
    tries = 0
    while True:
        tries += 1
        folder.mkdir()
        acknowledged = set(load.acknowledged)
        done = stage.run(COPIES[tool](stage.path("data"), folder), 120)
        if not any(word in done.stderr for word in VANISHED) and not dropped(stage.path("data"), folder):
            break
        shutil.rmtree(folder)
        if tries == 20:
            raise Failed(f"{prefix}a file vanished or was dropped each time: {done.stderr[-300:]}")
    load.pause()
    try:
        opened(stage, load, acknowledged, folder, prefix, tries, done)
    finally:
        load.go_on()
    shutil.rmtree(folder, ignore_errors=True)


def dropped(data, folder):
    """Segments of the copy that are no longer in the spool: they may have been written over while they were read."""
    return [path for path in folder.glob("spool/*/*.seg") if not (data / path.relative_to(folder)).exists()]


def opened(stage, load, acknowledged, folder, prefix, tries, done):
    sink = Sink(stage, "--check", name=f"{folder.name}-sink")
    engine = Engine(stage, route(sink.port) + SOON, name=f"{folder.name}-engine", base=base(data=folder))
    try:
        engine.start("--restored")
    except Failed as error:
        stage.fact(f"{prefix}`serve --restored` opens it", False, why=str(error)[-500:], copied=done.stderr[-200:])
        return
    ledger = engine.ledger()
    time.sleep(QUIET_SECONDS)
    stage.fact(f"{prefix}it opens, balances, and sends nothing", balances(ledger) and not sink.settled().arrivals, tries=tries,
               sent=len(sink.book.arrivals), **ledger)
    if ledger["accepted"] < len(acknowledged):
        stage.fact(f"{prefix}it counts what was acknowledged", False, acknowledged=len(acknowledged))
    status, answer = engine.http_ask("POST", "/v1/queue/release", {})
    stage.fact(f"{prefix}it lets go when told", status == 200, status=status, answer=answer)
    ledger = engine.wait_empty(120)
    arrived = set(sink.settled().arrivals)
    # Mail for the open door had been delivered by the original, unless it was just on its way.
    held = {address for address in acknowledged if address.endswith("@held.test")}
    missing, strangers = held - arrived, arrived - load.sent()
    stage.fact(f"{prefix}it holds everything acknowledged before the copy began", not missing and ledger["accepted"] >= len(acknowledged),
               acknowledged=len(acknowledged), waiting_of_these=len(held), arrived=len(arrived), missing=len(missing),
               wrong=len(sink.book.wrong), strangers=len(strangers))
    stage.fact(f"{prefix}nothing else is in it, and nothing changed", not strangers and not sink.book.wrong)
    engine.stop()
