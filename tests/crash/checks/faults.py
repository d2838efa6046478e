"""Writes, syncs, preallocation, creation that fail once, for a while, until mended; a sick sector: nothing lost, no crash, no hang."""

import time

from rig.books import Scene
from rig.disks import FaultDisk
from rig.load import Load
from rig.sector import sick_sector
from rig.watch import ANSWER_SECONDS, Watch

SEGMENTS = ".seg"
# What is broken: the name of the operation for the FUSE program, and of which files. The directory sync is of the shard's folder.
PLACES = {"write": f"write {SEGMENTS}", "fsync": f"fsync {SEGMENTS}", "fallocate": f"fallocate {SEGMENTS}",
          "create": f"create {SEGMENTS}", "fsyncdir": "fsyncdir /spool"}
# For how long: one operation; everything for some seconds; longer than an engine tries anything at a time.
ONCE, A_WHILE, LONG = "once", "for a while", "for long"
SECONDS = {ONCE: 2.0, A_WHILE: 1.5, LONG: 8.0}
# Segments so small that every fault of beginning one is met soon.
SEGMENT = "1MiB"
# Mail for slow.test trickles out, so that something is queued all the time and its delivery can be seen going on.
TRICKLE = '\n[provider.slow]\ndomains = ["slow.test"]\nrate = "20/s"\n'
MIXTURE = ("open.test", "held.test", "slow.test", "slow.test")
# How soon accepting goes on by itself.
RECOVERY_SECONDS = 15
# What may be said to a message that cannot be kept.
SMTP, HTTP = ("451", "452"), ("503 spool", "507 no_room", "429 busy")


def cases():
    for place in PLACES:
        for error in ("EIO", "ENOSPC"):
            for span in (ONCE, A_WHILE, LONG):
                count = " count=1" if span == ONCE else ""
                yield f"{place} {error} {span}", f"{PLACES[place]} {error}{count}", SECONDS[span]
    yield "write SHORT", f"write {SEGMENTS} SHORT n=1000 every=3", 3.0
    yield "write TORN", f"write {SEGMENTS} TORN n=1000 count=1", 2.0
    yield "write TORN and again", f"write {SEGMENTS} TORN n=1000 count=3 every=5", 4.0
    yield "fsync DELAY", f"fsync {SEGMENTS} DELAY ms=700", 4.0
    yield "every change EIO", "\n".join(f"{place} EIO" for place in PLACES.values()), 4.0
    yield "reads EIO meanwhile", f"read {SEGMENTS} EIO", 4.0


def run(stage):
    for name, rule, seconds in cases():
        if stage.options.only in name:
            stage.say(name)
            fault(stage, name, rule, seconds)
    if stage.options.only in "sick sector":
        stage.say("sick sector")
        sick_sector(stage)


def fault(stage, name, rule, seconds):
    """One fault under load, from its beginning to the count after a restart."""
    label, prefix = name.replace(" ", "-"), f"{name}: "
    disk = FaultDisk(stage, stage.options.faultfs, name=f"{label}-disk")
    scene = Scene(stage, name=label, extra=TRICKLE, data=disk.folder / "data", segment=SEGMENT, min_free="1MiB")
    scene.engine.start()
    load = Load(scene.engine, stage.options.seed, smtp=4, http=3, domains=MIXTURE, rest=0.005)
    watch = Watch(scene.engine)
    time.sleep(1)
    began = time.monotonic()
    disk.obey(rule)
    # What was on the wire when the fault began shows nothing: what counts is the second half.
    time.sleep(seconds / 2)
    sent = len(scene.sink.read().arrivals)
    time.sleep(seconds / 2)
    during = len(scene.sink.read().arrivals) - sent
    disk.obey()
    ended = time.monotonic()
    mended = goes_on(scene, load, ended)
    load.stop()
    watch.stop()
    judge_engine(stage, prefix, scene, watch)
    judge_refusals(stage, prefix, load, began, ended, during, mended)
    # A fault that is over at once may be over before anybody asks.
    if not any(word in name for word in (ONCE, A_WHILE, "TORN", "SHORT", "DELAY")) and any(code.split()[2] in ("451", "503") for code in load.refusals(began, ended)):
        stage.fact(f"{prefix}/healthz said why", watch.reasons, reasons=list(watch.reasons)[:3])
    if scene.engine.process.poll() is None:
        scene.engine.kill()
    scene.engine.config.write_text(scene.engine.config.read_text().replace(TRICKLE, ""))
    scene.engine.start()
    ledger = scene.drain()
    scene.judge(load, prefix)
    scene.balances(ledger, load, prefix)
    scene.close()
    disk.close()


def goes_on(scene, load, since):
    """Waits until mail that was handed over after the fault is acknowledged by both ways on several connections; seconds."""
    until = since + RECOVERY_SECONDS
    while time.monotonic() < until:
        fresh = [address for address, at in list(load.acknowledged.items()) if at > since + 0.1]
        # Each connection belongs to a shard: with a shard that still refuses, a part of all answers is a refusal.
        late = load.refusals(time.monotonic() - 0.5)
        if len(fresh) > 50 and not late:
            return time.monotonic() - since
        if scene.engine.process.poll() is not None:
            return None
        time.sleep(0.1)
    return None


def judge_engine(stage, prefix, scene, watch):
    status = scene.engine.process.poll()
    stage.fact(f"{prefix}the engine lives", status is None, **({} if status is None else {"status": status, "log": scene.engine.log()[-600:]}))
    stage.fact(f"{prefix}it answers within {ANSWER_SECONDS} s", not watch.silent, slowest_seconds=round(watch.slowest, 3), silent=watch.silent[:3])


def judge_refusals(stage, prefix, load, began, ended, during, mended):
    refusals = load.refusals(began)
    odd = [one for one in refusals if not one.split(" ", 2)[2].startswith(SMTP if one.startswith("smtp") else HTTP)]
    stage.fact(f"{prefix}refusals are for now: 451 or 452, 503 or 507", not odd, refusals=refusals, odd=odd[:5])
    accepted = sum(began < at < ended for at in load.acknowledged.values())
    # What cannot be read cannot be delivered.
    if not prefix.startswith("reads"):
        stage.fact(f"{prefix}queued mail is delivered meanwhile", during > 0, delivered=during, acknowledged_meanwhile=accepted)
    stage.fact(f"{prefix}accepting goes on by itself", mended is not None, seconds=mended)
