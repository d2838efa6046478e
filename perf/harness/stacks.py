"""Stacks of an engine at work, sampled by `perf record` and folded: a line for each, frames from the thread's name inwards, and how often it was seen."""

import collections
import shutil
import signal
import subprocess
import time

from . import stage

SAMPLES_PER_S = 4999
ATTACH_S = 0.5
"""How long `perf` takes at most to find every thread."""
KERNEL = 1 << 63
"""Addresses from here on are the kernel's."""


class Stacks:
    """Open it where a stretch begins; `write` keeps those since then."""

    def __init__(self, place, pids):
        self.data = place.dir / "stacks.data"
        command = ["perf", "record", "-q", "-F", SAMPLES_PER_S, "-g", "-e", "cpu-clock", "-o", self.data, "-p", ",".join(map(str, pids))]
        self.process = place.start(list(map(str, command)))
        time.sleep(ATTACH_S)
        if self.process.poll() is not None:
            raise stage.Void(f"perf record does not work here (it wants root): {place.log()}")

    def write(self, folder, name):
        """Writes them to `name`.folded in the folder, and draws `name`.svg where there is inferno."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(60)
        command = ["perf", "script", "-i", self.data, "--no-inline", "-F", "comm,ip,sym"]
        told = subprocess.run(list(map(str, command)), capture_output=True, text=True, errors="replace")
        folded = folder / f"{name}.folded"
        counts = fold(told.stdout.splitlines())
        folded.write_text("".join(f"{stack} {count}\n" for stack, count in sorted(counts.items())))
        drawer = shutil.which("inferno-flamegraph")
        if drawer:
            with open(folder / f"{name}.svg", "w") as picture:
                subprocess.run([drawer, "--title", name, "--minwidth", "0.5", folded], stdout=picture, check=True)


def fold(lines):
    """Counts of the stacks in the lines of `perf script`: the thread's name, then a frame a line, innermost first, then an empty line."""
    counts, comm, frames = collections.Counter(), "", []
    for line in [*lines, ""]:
        if not line.strip():
            if frames:
                counts[";".join([comm, *reversed(frames)])] += 1
            comm, frames = "", []
        elif not line.startswith("\t") and not comm:
            # The workers of io_uring are told by the number of their thread.
            comm = "iou-wrk" if line.startswith("iou-wrk") else line.strip()
        else:
            address, _, symbol = line.strip().partition(" ")
            frames.append(symbol.replace(";", ":") + ("_[k]" if int(address, 16) >= KERNEL else ""))
    return counts
