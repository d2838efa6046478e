"""System calls of an engine, counted by the kernel itself (`perf stat` on tracepoints): the engine is not stopped at each, as strace would."""

from . import sampling

NAMES = (
    "epoll_wait", "io_uring_enter", "madvise", "mincore", "pwrite64", "pread64", "write", "read", "futex", "sendto", "recvfrom", "writev", "epoll_ctl", "accept4",
    "connect", "socket", "setsockopt", "close", "fdatasync", "mmap", "munmap", "clock_nanosleep", "sched_yield", "getrandom", "fcntl")
"""Counted apart; `all` has the others too."""
ALL = "raw_syscalls:sys_enter"
ATTACH_S = 1.0
"""How long `perf` takes at most to find every thread."""


class Calls:
    """Open it where a stretch begins; `read` gives the calls of each name since then."""

    def __init__(self, place, pids):
        self.file = place.dir / "calls.csv"
        events = ",".join([ALL, *(f"syscalls:sys_enter_{name}" for name in NAMES)])
        self.process = sampling.attach(place, ["stat", "-x", ";", "-e", events, "-o", self.file], pids, ATTACH_S)

    def read(self):
        sampling.detach(self.process)
        return parse(self.file.read_text())


def parse(text):
    """Counts by name from the lines of `perf stat -x ;`."""
    found = {}
    for line in text.splitlines():
        words = line.split(";")
        if len(words) > 2 and words[0].isdigit():
            found["all" if words[2] == ALL else words[2].removeprefix("syscalls:sys_enter_")] = int(words[0])
    return found


def lines(figures):
    """What a message costs in calls, the most first; those that hardly occur are in the sum."""
    each = {name.removeprefix("calls_"): value for name, value in figures.items() if name.startswith("calls_")}
    told = [f"{name} {value:.2f}" for name, value in sorted(each.items(), key=lambda one: -one[1]) if name != "all" and value >= 0.005]
    return f"system calls a message: {each['all']:.2f}: " + ", ".join(told) if each else ""
