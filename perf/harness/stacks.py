"""Stacks of an engine at work, sampled by `perf record` and folded: a line for each, frames from the thread's name inwards, and how often it was seen."""

import collections
import shutil
import subprocess

from . import sampling, stage

SAMPLES_PER_S = 4999
ATTACH_S = 0.5
"""How long `perf` takes at most to find every thread."""
KERNEL = 1 << 63
"""Addresses from here on are the kernel's."""


class Stacks:
    """Open it where a stretch begins; `write` keeps those since then."""

    def __init__(self, place, pids):
        self.data = place.dir / "stacks.data"
        self.process = sampling.attach(place, ["record", "-q", "-F", SAMPLES_PER_S, "-g", "-e", "cpu-clock", "-o", self.data], pids, ATTACH_S)

    def write(self, folder, name):
        """Writes them to `name`.folded in the folder, and draws `name`.svg where there is inferno."""
        sampling.detach(self.process)
        command = ["perf", "script", "-i", str(self.data), "--no-inline", "-F", "comm,ip,sym"]
        told = subprocess.run(command, capture_output=True, text=True, errors="replace")
        counts = fold(told.stdout.splitlines())
        if not counts:
            raise stage.Void(f"perf script tells no stacks: {told.stderr[-500:]}")
        folded = folder / f"{name}.folded"
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
        elif not comm:
            # The workers of io_uring are told by the number of their thread.
            comm = "iou-wrk" if line.startswith("iou-wrk") else line.strip()
        else:
            address, _, symbol = line.strip().partition(" ")
            frames.append(symbol.replace(";", ":") + ("_[k]" if int(address, 16) >= KERNEL else ""))
    return counts
