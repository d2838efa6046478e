"""The machine, the disk and the programs that the figures belong to."""

import os
import pathlib
import platform
import statistics
import subprocess
import tempfile
import time

from . import senders
from .stage import ROOT

SYNCS = 200


def facts(options):
    return {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "commit": commit(),
        "profile": "unknown (--bin)" if options.is_given else options.profile,
        "note": options.note,
        **machine(),
        "cpus_used": options.cpus or "all",
        "memory_gb": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9, 1),
        "load_before": round(os.getloadavg()[0], 2),
        "disk": disk(options.data),
        "versions": {name: senders.ALL[name].version(options) for name in options.senders if installed(name, options)},
    }


def machine():
    return {"cpu": cpu(), "cores": os.cpu_count(), "kernel": platform.release()}


def installed(name, options):
    """Whether it can run anything at all here; what a scenario needs more is its own question."""

    class Plain:
        signed = tls = False

    return senders.ALL[name].missing(options, Plain) is None


def cpu():
    """The processor's name, and its family and model, since a virtual machine may hide the rest of the name."""
    first = pathlib.Path("/proc/cpuinfo").read_text().split("\n\n", 1)[0]
    told = {name.strip(): value.strip() for name, found, value in (line.partition(":") for line in first.splitlines()) if found}
    name = told.get("model name", platform.machine())
    return f"{name} (family {told['cpu family']}, model {told['model']})" if {"cpu family", "model"} <= told.keys() else name


def commit():
    done = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty"], capture_output=True, text=True)
    return done.stdout.strip() or "unknown"


def disk(folder):
    """The file system that holds the spools, and how long it takes to make 4 KiB durable."""
    folder = pathlib.Path(folder)
    device, kind = filesystem(folder)
    return {"path": str(folder), "filesystem": kind, "device": device, "is_memory": kind in ("tmpfs", "ramfs"), **fdatasync_us(folder)}


def filesystem(folder):
    """Device and kind of the mount that is nearest above."""
    best = ("", "unknown", -1)
    place = str(folder.resolve())
    for line in pathlib.Path("/proc/self/mounts").read_text().splitlines():
        device, mount, kind, *_ = line.split()
        inside = place == mount or place.startswith(mount.rstrip("/") + "/")
        if inside and len(mount) >= best[2]:
            best = (device, kind, len(mount))
    return best[0], best[1]


def fdatasync_us(folder):
    """Median and p99 of write and fdatasync of 4 KiB, overwriting a file that has its blocks."""
    times = []
    with tempfile.NamedTemporaryFile(dir=folder, prefix="staffetta-perf-sync-") as file:
        block = b"x" * 4096
        os.pwrite(file.fileno(), block * SYNCS, 0)
        os.fsync(file.fileno())
        for number in range(SYNCS):
            begun = time.perf_counter()
            os.pwrite(file.fileno(), block, number * 4096)
            os.fdatasync(file.fileno())
            times.append((time.perf_counter() - begun) * 1e6)
    times.sort()
    return {"fdatasync_p50_us": round(statistics.median(times)), "fdatasync_p99_us": round(times[int(len(times) * 0.99)])}
