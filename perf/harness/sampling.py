"""Linux's `perf`, attached to an engine while a stretch is measured."""

import signal
import time

from . import stage


def attach(place, words, pids, seconds):
    """`perf` with these words, on these processes; `seconds` is how long it takes at most to find every thread."""
    process = place.start(["perf", *map(str, words), "-p", ",".join(map(str, pids))])
    time.sleep(seconds)
    if process.poll() is not None:
        raise stage.Void(f"perf {words[0]} does not work here (it wants root, and tracefs to count calls): {place.log()}")
    return process


def detach(process):
    """Ends it; what it has found is in its file then."""
    process.send_signal(signal.SIGINT)
    process.wait(60)
