"""What a stretch of a run cost: processor time of the sender, of the tools and of everything else, memory, flushes of the disk."""

import os
import pathlib
import resource

from . import calls, group, stacks

TICKS = os.sysconf("SC_CLK_TCK")


class Meter:
    """Open it where the stretch begins; `read` where it ends."""

    def __init__(self, run):
        self.run = run
        self.watch, self.calls, self.stacks = group.Watch(run.sender.group), None, None

    def __enter__(self):
        if self.run.counts_calls:
            self.calls = calls.Calls(self.run.place, self.run.sender.group.pids())
        if self.run.stacks:
            self.stacks = stacks.Stacks(self.run.place, self.run.sender.group.pids())
        self.before = self.now()
        self.watch.__enter__()
        return self

    def __exit__(self, *_):
        self.watch.__exit__()

    def now(self):
        busy, capacity = machine_seconds()
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return {
            "sender": self.run.sender.group.cpu_seconds(), "sink": self.run.sink.cpu_seconds(), "busy": busy, "capacity": capacity,
            "runner": usage.ru_utime + usage.ru_stime, "flushes": flushes(self.run.place.dir),
        }

    def read(self, messages, injected=None):
        """The figures of `messages`; `injected` is what the injector said, when it worked in this stretch."""
        self.__exit__()
        now = self.now()
        called = self.calls.read() if self.calls else {}
        if self.stacks:
            self.stacks.write(self.run.stacks, self.run.name())
        spent = {name: now[name] - before for name, before in self.before.items() if now[name] is not None and before is not None}
        each_us = lambda seconds: round(seconds * 1e6 / messages, 2)
        injector = injected["cpu_us_per_message"] * injected["sent"] / 1e6 if injected else 0.0
        other = spent["busy"] - spent["sender"] - spent["sink"] - spent["runner"] - injector
        figures = {
            "cpu_us_per_msg": each_us(spent["sender"]),
            "sink_cpu_us_per_msg": each_us(spent["sink"]),
            "machine_cpu_us_per_msg": each_us(spent["busy"]),
            "other_cpu_share": round(max(0.0, other) / max(spent["capacity"], 1e-9), 3),
            "rss_mb": mb(self.watch.peak["resident"]),
            "anon_mb": mb(self.watch.peak["anonymous"]),
            "anon_growth_mb": mb(self.watch.peak["anonymous"] - self.watch.first["anonymous"]),
            "processes": self.watch.peak["processes"],
        }
        if injected:
            figures["inject_cpu_us_per_msg"] = round(injected["cpu_us_per_message"], 2)
            figures["accept_p50_ms"] = injected["latency_ms"]["p50"]
            figures["accept_p99_ms"] = injected["latency_ms"]["p99"]
        figures.update({f"calls_{name}": round(count / messages, 3) for name, count in called.items()})
        if "flushes" in spent:
            figures["disk_flushes_per_1k"] = round(spent["flushes"] * 1000 / messages, 1)
        return figures


def mb(count):
    """Megabytes, of a million bytes."""
    return round(count / 1e6, 1)


def machine_seconds():
    """Processor seconds of the whole machine so far: busy, and all there were."""
    fields = [int(field) / TICKS for field in pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    user, nice, system, idle, waiting, interrupt, soft, stolen = fields
    busy = user + nice + system + interrupt + soft
    return busy, busy + idle + waiting + stolen


def flushes(folder):
    """Cache flushes that the disk under `folder` was sent; none where the kernel does not count them."""
    device = os.stat(folder).st_dev
    wanted = [str(os.major(device)), str(os.minor(device))]
    for line in pathlib.Path("/proc/diskstats").read_text().splitlines():
        words = line.split()
        if words[:2] == wanted and len(words) > 18:
            return int(words[18])
    return None
