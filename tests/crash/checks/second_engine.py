"""One owner: a second engine is refused; `staffetta spool verify` and `cat` read beside the first, and a damaged copy, and change no byte."""

import hashlib
import random
import shutil

from harness.engine import Engine
from rig.books import Scene, base
from rig.load import Load


def run(stage):
    scene = Scene(stage, data=stage.path("data"))
    scene.engine.start()
    load = Load(scene.engine, stage.options.seed, domains=("held.test", "open.test"))
    stage.wait("some mail", lambda: len(load.acknowledged) > 2000, 60)
    refused(stage, scene)
    reading(stage, scene, load)
    load.stop()
    damaged(stage, scene)
    ledger = scene.drain()
    scene.judge(load)
    scene.balances(ledger, load)
    scene.engine.stop()
    scene.close()


def refused(stage, scene):
    """A second engine on the same directory, with ports of its own."""
    before = set((stage.path("data") / "spool").rglob("*"))
    second = Engine(stage, "", name="second", base=base(data=stage.path("data")))
    second.launch()
    status = second.process.wait(20)
    text = second.log()
    stage.fact("a second engine is refused and told the first", status == 1 and str(scene.engine.process.pid) in text, status=status,
               said=text.strip().splitlines()[-1:])
    begun = {file for file in (stage.path("data") / "spool").rglob("*") if file not in before and file.parent.name == "quarantine"}
    stage.fact("it set nothing aside", not begun, files=len(begun))
    stage.fact("the first one goes on", scene.engine.ledger()["accepted"] > 0 and scene.engine.process.poll() is None)


def reading(stage, scene, load):
    """Reading beside an engine under load, and beside one at rest whose files must not change."""
    before = len(load.acknowledged)
    for word in ("verify", "cat"):
        done = stage.run([scene.engine.binary, "spool", word, stage.path("data")], 120)
        # The end of the newest segment may look torn: it is being written.
        good = done.returncode == 0 if word == "cat" else done.returncode in (0, 1) and "panicked" not in done.stderr
        stage.fact(f"`spool {word}` reads beside an engine under load", good and done.stdout, status=done.returncode,
                   lines=len(done.stdout.splitlines()), stderr=done.stderr[-300:])
    stage.fact("mail is taken meanwhile", len(load.acknowledged) > before, acknowledged=len(load.acknowledged) - before)
    load.pause()
    stage.wait("the open door to be done", lambda: scene.engine.ledger()["queued"] == queued_for_held(load), 60)
    unchanged(stage, scene.engine.binary, stage.path("data"), "beside an engine at rest", (0,))
    load.go_on()


def queued_for_held(load):
    return sum(address.endswith("@held.test") for address in load.acknowledged)


def damaged(stage, scene):
    """A copy with flipped, zeroed and cut files."""
    copy, chance = stage.path("damaged"), random.Random(stage.options.seed)
    shutil.copytree(stage.path("data"), copy, ignore=shutil.ignore_patterns("control.sock"))
    segments = sorted((copy / "spool").rglob("*.seg"))
    for number, segment in enumerate(segments):
        with open(segment, "r+b") as file:
            size = segment.stat().st_size
            if number % 4 == 0:
                file.truncate(chance.randrange(size))
            else:
                for _ in range(5):
                    file.seek(chance.randrange(size if number % 4 == 1 else size // 8))
                    file.write(bytes([chance.randrange(256)]) * (1 if number % 4 < 3 else 1000))
    unchanged(stage, scene.engine.binary, copy, "of a damaged copy", (0, 1))


def unchanged(stage, binary, data, what, statuses):
    before = sums(data)
    for word in ("verify", "cat"):
        done = stage.run([binary, "spool", word, data], 120)
        stage.fact(f"`spool {word}` reads the spool {what}", done.returncode in statuses and done.stdout and "panicked" not in done.stderr,
                   status=done.returncode, lines=len(done.stdout.splitlines()), stderr=done.stderr[-300:])
    stage.fact(f"no byte and no name {what} has changed", sums(data) == before, files=len(before))


def sums(data):
    """Every file of the spool with its SHA-256."""
    return {str(file.relative_to(data)): hashlib.sha256(file.read_bytes()).hexdigest()
            for file in sorted((data / "spool").rglob("*")) if file.is_file()}
