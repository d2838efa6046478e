"""What the kernel knows about a process: its open files and its memory."""

import collections
import os
import time


def descriptors(pid):
    """What it has open, counted by kind; files are counted one by one, so that a new segment is not a leak."""
    kinds = collections.Counter()
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            target = os.readlink(f"/proc/{pid}/fd/{name}")
        except FileNotFoundError:
            continue
        kinds[target.split(":")[0] if ":" in target else "file"] += 1
    return kinds


def at_rest(pid):
    """The same of an engine that has just said `ready`: the last of its threads may still be opening something."""
    time.sleep(1)
    return descriptors(pid)


def wait_for_sockets(pid, most, seconds):
    """Waits until it has at most so many sockets open; gives everything that it has open."""
    until = time.monotonic() + seconds
    while (found := descriptors(pid))["socket"] > most and time.monotonic() < until:
        time.sleep(0.25)
    return found


def resident(pid):
    """Resident bytes that are not pages of files."""
    with open(f"/proc/{pid}/status") as status:
        for line in status:
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
    return 0
