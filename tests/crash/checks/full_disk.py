"""A disk of 48 MiB filled again and again: 452 and 507 before it is full, delivery goes on, accepting resumes by itself, nothing lost."""

import os
import random
import time

from harness.stage import Failed, Skipped
from rig.books import Scene
from rig.disks import Disk
from rig.load import Load
from rig.watch import ANSWER_SECONDS, Watch

MEBIBYTES = 48
# Large messages fill the disk with few of them: the event store, which is on it too, keeps a line of each for 90 days.
LINES = [(160, 40), (1200, 40), (3000, 20)]
# Mail is refused when less is free: one segment for each shard, and something for the event store.
CAUTIOUS, RECKLESS = "6MiB", "1B"
# The rest of each connection before a message, when the disk is filled slowly.
SLOW = 0.1
# What another program holds from the beginning, besides what it takes when the disk is full: so much comes back.
BALLAST = 4 << 20
# How long may pass until the engine notices room, or the lack of it.
NOTICE_SECONDS = 15


def run(stage):
    if os.geteuid() != 0:
        raise Skipped("mounting needs root")
    for system in ("ext4", "tmpfs"):
        if stage.options.only in system:
            fill(stage, system, CAUTIOUS, stage.options.fills, f"{system}: ")
            fill(stage, system, RECKLESS, max(2, stage.options.fills // 4), f"{system}, to the last byte: ", hog=True)


def fill(stage, system, min_free, times, prefix, hog=False):
    """Fills the disk several times with mail that waits, and empties it by delivering."""
    name = f"{system}-{'hog' if hog else 'engine'}"
    disk = Disk(stage, system, MEBIBYTES, name=f"{name}-disk")
    scene = Scene(stage, name=name, data=disk.folder / "data", segment="4MiB", min_free=min_free)
    scene.engine.start()
    load = Load(scene.engine, random.Random(f"{stage.options.seed} {prefix}").randrange(1 << 32), smtp=4, http=3, lines=LINES)
    stage.wait("a first delivery", lambda: scene.sink.read().messages, 10)
    watch = Watch(scene.engine)
    rounds = []
    for n in range(times):
        # Slowly, as mail comes; and as fast as it can, which is when a disk is fuller than it was a moment ago.
        load.rest = SLOW if n % 2 == 0 else 0.0
        try:
            rounds.append(once(stage, disk, scene, load, disk.folder / "hog" if hog else None))
        except Exception as error:
            stage.fact(f"{prefix}round {n + 1} goes its way", False, why=str(error)[-1200:], free=disk.free(), ended=scene.engine.process.poll())
            break
    judge(stage, prefix, scene, load, watch, rounds, times, hog)
    if hog:
        start_when_full(stage, prefix, disk, scene)
    scene.close()
    disk.unmount()


def once(stage, disk, scene, load, hog):
    """One time round: mail waits until it is refused both ways, then it is delivered while more is handed over."""
    engine, before, began = scene.engine, len(load.acknowledged), time.monotonic()
    if hog:
        load.pause()
        stage.wait("room for another program", lambda: disk.free() > 2 * BALLAST, 60)
        began = time.monotonic()
        with open(hog, "wb") as file:
            os.posix_fallocate(file.fileno(), 0, BALLAST)
    if engine.cli("queue", "suspend", "--all").returncode:
        raise RuntimeError("the paths cannot be suspended")
    load.go_on()
    least = [disk.free()]

    def refused():
        least[0] = min(least[0], disk.free())
        found = load.refusals(since=began)
        return sum(count for what, count in found.items() if what.startswith("smtp")) > 20 \
            and sum(count for what, count in found.items() if what.startswith("http")) > 20
    stage.wait("refusals by SMTP and HTTP", refused, 120, every=0.02)
    if hog:
        take_all(hog)
        time.sleep(1)
    taken, refusals = len(load.acknowledged) - before, load.refusals(since=began)
    least[0] = min(least[0], disk.free())
    load.pause()
    time.sleep(0.5)
    waiting = len(load.acknowledged)
    arrived = len(scene.sink.read().arrivals)
    resumed = time.monotonic()
    engine.cli("queue", "resume", "--all")
    if hog:
        # With not a byte to be had, what little room the segments have left must do for a while.
        time.sleep(2)
        hog.unlink()
    stage.wait("the delivery of what waited", lambda: len(scene.sink.read().arrivals) >= waiting, 60)
    drained = time.monotonic() - resumed
    load.go_on()
    before, going = len(load.acknowledged), time.monotonic()
    stage.wait("mail being taken again", lambda: len(load.acknowledged) > before + 20, NOTICE_SECONDS)
    return {"taken": taken, "refusals": refusals, "least_free": least[0], "waited": waiting - arrived, "drained_seconds": drained,
            "again_seconds": time.monotonic() - going}


def start_when_full(stage, prefix, disk, scene):
    """A start with not a byte to be had: it may wait for room, but must not need anybody to come and start it."""
    engine, hog = scene.engine, disk.folder / "hog"
    take_all(hog)
    engine.kill()
    try:
        seconds, why = engine.start(), ""
    except Failed as error:
        seconds, why = None, str(error)[-400:]
    stage.fact(f"{prefix}it starts on a full disk", seconds is not None, start_seconds=seconds, why=why, free=disk.free())
    hog.unlink()


def take_all(hog):
    """Another program takes every byte that is left."""
    with open(hog, "ab", buffering=0) as file:
        for piece in (1 << 20, 1 << 12, 1):
            try:
                while True:
                    file.write(b"x" * piece)
            except OSError:
                continue


def judge(stage, prefix, scene, load, watch, rounds, times, hog):
    load.stop()
    watch.stop()
    stage.fact(f"{prefix}filled and emptied again and again", len(rounds) == times, rounds=len(rounds),
               taken=[one["taken"] for one in rounds], longest_delivery_seconds=max((one["drained_seconds"] for one in rounds), default=None))
    stage.fact(f"{prefix}accepting resumes by itself", len(rounds) == times,
               longest_seconds=max((one["again_seconds"] for one in rounds), default=None))
    status = scene.engine.process.poll()
    stage.fact(f"{prefix}the engine lives", status is None, status=status, log="" if status is None else scene.engine.log()[-500:])
    stage.fact(f"{prefix}it answers within {ANSWER_SECONDS} s", not watch.silent, slowest_seconds=round(watch.slowest, 3), silent=watch.silent[:3])
    refusals = load.refusals()
    least = min((one["least_free"] for one in rounds), default=0)
    if not hog:
        early = {"smtp MAIL 452", "http answer 507 no_room", "http answer 429 busy"}
        # A message that was already on its way when the room ran out may be refused at its end.
        odd = {what: count for what, count in refusals.items() if what not in early | {"smtp dot 452"}}
        stage.fact(f"{prefix}refused with 452 at MAIL and 507 before the disk is full", not odd and "smtp MAIL 452" in refusals and least > 0,
                   refusals=refusals, least_free=least)
        texts = {one.text for one in load.refused if one.code == 452}
        stage.fact(f"{prefix}the reply is 452 4.3.1", texts and all("452 4.3.1" in text for text in texts), texts=sorted(texts)[:3])
    else:
        odd = {what: count for what, count in refusals.items() if what.split()[2] not in ("451", "452", "503", "507", "429")}
        stage.fact(f"{prefix}refused for now", not odd, refusals=refusals, least_free=least)
    # Once more from the disk: what waits must be there after a start as well.
    if status is None:
        scene.engine.kill()
    seconds = scene.engine.start()
    stage.say(f"started again in {seconds:.2f} s")
    ledger = scene.drain()
    scene.judge(load, prefix)
    scene.balances(ledger, load, prefix)
