"""A power cut under load, on ext4 and xfs: nothing acknowledged before it is lost; an engine that acknowledges too early does lose."""

import os
import random
import shutil
import time

from harness.engine import balances
from harness.stage import Skipped
from rig.books import Scene
from rig.disks import LOGFLUSH, NOLOGFLUSH, Disk
from rig.load import Load

# A disk for all rounds of a file system: what is held stays on it until the last.
MEBIBYTES = 2048
PLANT = {"STAFFETTA_PLANT": "acknowledge-before-sync"}


def run(stage):
    if os.geteuid() != 0:
        raise Skipped("mounting needs root")
    systems = [system for system in ("ext4", "xfs") if shutil.which(f"mkfs.{system}", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
               and stage.options.only in system]
    if not systems:
        raise Skipped("neither mkfs.ext4 nor mkfs.xfs is installed")
    for system in systems:
        lost, late = cuts(stage, system, f"{system}: ")
        stage.fact(f"{system}: no cut lost anything acknowledged", not any(lost), lost_by_each_cut=lost,
                   lost_of_those_acknowledged_while_it_was_cut=late)
    if not stage.options.planted:
        stage.fact("the control was run (--planted names the engine built with `--features planted-bugs`)", False)
        return
    for system in systems:
        lost, late = cuts(stage, system, f"control, {system}: ", control=True)
        stage.fact(f"control, {system}: an engine that acknowledges before the sync loses", sum(lost) > 0, lost_by_each_cut=lost,
                   lost_of_those_acknowledged_while_it_was_cut=late)


def cuts(stage, system, prefix, control=False):
    """Cuts the power at random moments; gives how many of the messages acknowledged before each cut were lost, and how
    many of those whose answer was read while it was being cut. The latter prove nothing: a machine without power says
    nothing more, while ext4 lets an fdatasync that meets the shutdown succeed and keeps nothing of it."""
    chance = random.Random(f"{stage.options.seed} power_cut {system}")
    name = f"{system}-{'control' if control else 'engine'}"
    disk = Disk(stage, system, MEBIBYTES, name=f"{name}-disk")
    extra = {"binary": stage.options.planted, "environment": PLANT} if control else {}
    scene = Scene(stage, name=name, data=disk.folder / "data", **extra)
    scene.engine.start()
    load = Load(scene.engine, chance.randrange(1 << 32), domains=("held.test", "held.test", "open.test"))
    sets, late = [], set()
    for _ in range(stage.options.rounds):
        sets.append(cut(stage, disk, scene, load, chance, prefix, late))
    time.sleep(0.5)
    load.stop()
    ledger = scene.drain()
    arrived = scene.arrived()
    lost, before = [], set()
    for acknowledged in sets:
        lost.append(len(acknowledged - before - late - arrived))
        before |= acknowledged
    if not control:
        scene.judge(load, prefix, late)
        scene.balances(ledger, load, prefix, len(late))
    scene.engine.stop()
    scene.close()
    disk.unmount()
    return lost, len(late - arrived)


def cut(stage, disk, scene, load, chance, prefix, late):
    """One cut; gives what had been acknowledged before it, and adds to `late` what was acknowledged during it."""
    pause, how, dying = chance.uniform(0.5, 3), chance.choice([NOLOGFLUSH, NOLOGFLUSH, LOGFLUSH]), chance.uniform(0, 0.2)
    time.sleep(pause)
    acknowledged = set(load.acknowledged)
    disk.cut(how)
    time.sleep(dying)
    status = scene.engine.process.poll()
    scene.engine.kill()
    disk.unmount()
    disk.mount()
    after = set(load.acknowledged) - acknowledged
    late |= after
    seconds = scene.engine.start()
    ledger = scene.engine.ledger()
    stage.fact(f"{prefix}cut after {pause:.3f} s, it starts and balances", balances(ledger), how="journal flushed" if how == LOGFLUSH else "journal lost",
               acknowledged=len(acknowledged), acknowledged_while_it_was_cut=len(after), ended_by_itself=status, start_seconds=round(seconds, 2),
               **ledger)
    return acknowledged
