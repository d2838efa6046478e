"""A sick sector: bytes of an old segment that cannot be read at the next start."""

import os
import time

from rig.books import Scene
from rig.disks import FaultDisk
from rig.load import Load

# The stretch that cannot be read, in a segment of 4 MiB: reads that begin in it fail. No single read of the kernel is longer
# than it reads ahead, and it begins such a read at a multiple of that.
FROM, TO = 1 << 20, (1 << 20) + (64 << 10) - 1
# What a message takes at least with its recipient, of those that are sent here.
MESSAGE_BYTES = 700


def sick_sector(stage):
    """Fills segments with mail that waits, makes a stretch of one unreadable, and starts again."""
    prefix = "sick sector: "
    disk = FaultDisk(stage, stage.options.faultfs, name="sector-disk")
    scene = Scene(stage, name="sector", data=disk.folder / "data", segment="4MiB", min_free="1MiB")
    scene.engine.start()
    load = Load(scene.engine, stage.options.seed, domains=("held.test",))
    stage.wait("several segments", lambda: len(segments(disk)) >= 8, 60)
    load.stop()
    status, _ = scene.engine.stop()
    sick = segments(disk)[1]
    disk.obey(f"read {sick.relative_to(disk.backing)} EIO minoff={FROM} maxoff={TO}")
    forget_pages(disk)
    try:
        seconds = scene.engine.start()
        why = ""
    except Exception as error:
        seconds, why = None, str(error)[-800:]
    status = scene.engine.process.poll()
    if not stage.fact(f"{prefix}it starts", seconds is not None, sick=str(sick.relative_to(disk.backing)), start_seconds=seconds, status=status, why=why):
        scene.close()
        return disk.close()
    told = [line for line in scene.engine.log().splitlines() if "damage" in line or "cannot read" in line or "unreadable" in line]
    stage.fact(f"{prefix}it reports the damage", told, lines=len(told), first=[line[:300] for line in told[:2]])
    time.sleep(1)
    disk.obey()
    scene.drain()
    books = scene.books()
    arrived = {address for book in books for address in book.arrivals}
    lost = set(load.acknowledged) - arrived
    wrong = [address for book in books for address in book.wrong]
    most = (TO - FROM + 1) // MESSAGE_BYTES + 2
    stage.fact(f"{prefix}only what lay there is lost", len(lost) <= most, acknowledged=len(load.acknowledged), arrived=len(arrived),
               lost=len(lost), at_most=most)
    stage.fact(f"{prefix}every message arrived as it was written", not wrong, wrong=len(wrong))
    stage.fact(f"{prefix}the engine lives", scene.engine.process.poll() is None, status=scene.engine.process.poll())
    scene.close()
    return disk.close()


def segments(disk):
    """The segment files of the first shard, oldest first, as they lie behind the FUSE program."""
    return sorted((disk.backing / "data/spool/0").glob("*.seg"))


def forget_pages(disk):
    """The kernel keeps pages of files in memory: those of this file system must be read again."""
    for file in (disk.folder / "data/spool").rglob("*.seg"):
        handle = os.open(file, os.O_RDONLY)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)
