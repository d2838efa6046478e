"""The processes of one sender taken together: processor time exact to the last short-lived child, and memory at its peak.

Where a cgroup can be made (root on Linux) the kernel itself adds up what every process in it has used, also of those that have
ended. Elsewhere the tree below the first process is walked and the time of reaped children is added, which misses a child that has
ended and was not yet waited for.
"""

import itertools
import os
import pathlib
import signal
import threading
import time

TICKS = os.sysconf("SC_CLK_TCK")
NUMBERS = itertools.count()
SAMPLE_S = 0.25
"""Between two looks at memory; longer for trees of many processes, so that looking costs them nothing that shows."""


class Group:
    """Start its processes with `wrap`; `close` ends what is left of them."""

    def __init__(self, name):
        self.roots = []
        """Its first processes: what is asked where there is no cgroup."""
        self.folder, self.read_cpu = make(f"staffetta-perf-{os.getpid()}-{next(NUMBERS)}-{name}")

    @property
    def how(self):
        return "cgroup" if self.folder else "process tree"

    def wrap(self, command):
        """The command as a member of the group."""
        if not self.folder:
            return command
        return ["/bin/sh", "-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', str(self.folder), *command]

    def cpu_seconds(self):
        """User and system time of all its processes so far."""
        return self.read_cpu(self.folder) if self.folder else tree_seconds(self.roots)

    def pids(self):
        if self.folder:
            return [int(pid) for pid in (self.folder / "cgroup.procs").read_text().split()]
        return below(self.roots, stats())

    def close(self):
        """Ends the members that are still there, and the group."""
        if not self.folder or not self.folder.exists():
            return
        for _ in range(50):
            pids = self.pids()
            for pid in pids:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            if not pids:
                break
            time.sleep(0.05)
        try:
            self.folder.rmdir()
        except OSError:
            pass


def make(name):
    """A new cgroup and how its processor time is read; (None, None) where there can be none."""
    for place, read in ((unified(), seconds_of_v2), (legacy(), seconds_of_v1)):
        if place is None:
            continue
        folder = place / name
        try:
            folder.mkdir()
            read(folder)
            return folder, read
        except (OSError, KeyError):
            try:
                folder.rmdir()
            except OSError:
                pass
    return None, None


def mounted(kind, option=None):
    """Where a file system of `kind` is mounted, with this option if one is named."""
    for line in pathlib.Path("/proc/self/mounts").read_text().splitlines():
        _, place, found, options, *_ = line.split()
        if found == kind and (option is None or option in options.split(",")):
            return pathlib.Path(place)
    return None


def own(controller):
    """This process's place in the hierarchy of `controller`; empty is that of cgroup v2."""
    for line in pathlib.Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, place = line.split(":", 2)
        if controller in controllers.split(","):
            return place.lstrip("/")
    return ""


def unified():
    mount = mounted("cgroup2")
    return mount / own("") if mount else None


def legacy():
    mount = mounted("cgroup", "cpuacct")
    return mount / own("cpuacct") if mount else None


def seconds_of_v2(folder):
    fields = dict(line.split() for line in (folder / "cpu.stat").read_text().splitlines())
    return int(fields["usage_usec"]) / 1e6


def seconds_of_v1(folder):
    return int((folder / "cpuacct.usage").read_text()) / 1e9


def stats():
    """Of every process: its parent, and the fields of `/proc/PID/stat` behind the name."""
    found = {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rsplit(") ", 1)[1].split()
            except OSError:
                continue
            found[int(entry.name)] = fields
    return found


def below(roots, found):
    """The processes and their descendants."""
    children = {}
    for pid, fields in found.items():
        children.setdefault(int(fields[1]), []).append(pid)
    members, todo = [], list(roots)
    while todo:
        pid = todo.pop()
        if pid in found:
            members.append(pid)
            todo += children.get(pid, [])
    return members


def tree_seconds(roots):
    found = stats()
    return sum(int(tick) for pid in below(roots, found) for tick in found[pid][11:15]) / TICKS


def process_seconds(pid):
    """User and system time of one process and its threads so far."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory(pids):
    """Bytes: `resident` with shared pages counted once (PSS) where there are several processes, and `anonymous`, which is not
    pages of files."""
    resident = anonymous = 0
    for pid in pids:
        try:
            status = fields_kib(f"/proc/{pid}/status")
            # One process with a large map is not asked for its PSS: the kernel would walk the map while it holds its lock.
            whole = status["VmRSS"] if len(pids) == 1 else fields_kib(f"/proc/{pid}/smaps_rollup")["Pss"]
        except (OSError, KeyError):
            continue
        resident += whole * 1024
        anonymous += status.get("RssAnon", 0) * 1024
    return {"resident": resident, "anonymous": anonymous, "processes": len(pids)}


def wakes(pids):
    """How often their threads have gone to sleep by themselves so far."""
    count = 0
    for pid in pids:
        for status in pathlib.Path(f"/proc/{pid}/task").glob("*/status"):
            count += int(status.read_text().rsplit("\nvoluntary_ctxt_switches:", 1)[1].split()[0])
    return count


def fields_kib(file):
    found = {}
    for line in pathlib.Path(file).read_text().splitlines():
        words = line.split()
        if len(words) == 3 and words[2] == "kB":
            found[words[0].rstrip(":")] = int(words[1])
    return found


class Watch(threading.Thread):
    """The highest memory of a group while it is open."""

    def __init__(self, group):
        super().__init__(daemon=True)
        self.group, self.over = group, threading.Event()
        self.first = memory(group.pids())
        self.peak = dict(self.first)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.join()

    def run(self):
        while not self.over.is_set():
            self.look()
            self.over.wait(SAMPLE_S * (1 if self.peak["processes"] < 8 else 6))
        self.look()

    def look(self):
        now = memory(self.group.pids())
        self.peak = {name: max(self.peak[name], value) for name, value in now.items()}
