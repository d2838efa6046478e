"""Receivers and what they saw: the recording sink, Postfix's smtp-sink, and the kernel's list of connections."""

import collections
import os
import pathlib
import re
import subprocess
import sys
import threading
import time

from .engine import read_line
from .stage import Failed, free_port, need

HERE = pathlib.Path(__file__).parent


class Sink:
    """The recording sink as a process of its own."""

    def __init__(self, stage, *flags, name="sink", listen="127.0.0.1:0"):
        self.log = stage.path(f"{name}.log")
        self.log.touch()
        self.process = stage.spawn([sys.executable, HERE / "sink.py", "--log", self.log, "--listen", listen, *flags],
                                   stdout=subprocess.PIPE)
        line = read_line(self.process, 20)
        if not line.startswith("ready "):
            raise Failed("the recording sink did not start")
        self.port = int(line.split()[1])
        self.stage, self.book = stage, Book()
        self.offset = 0

    def read(self):
        """Reads what was written since the last time; gives the book."""
        with open(self.log, "rb") as log:
            log.seek(self.offset)
            text = log.read()
        whole = text.rfind(b"\n") + 1
        self.offset += whole
        for line in text[:whole].decode("utf-8", "surrogateescape").splitlines():
            self.book.line(line)
        return self.book

    def settled(self):
        """Reads until two readings are the same, which they never are while mail comes."""
        before = -1
        while before != self.offset:
            before = self.offset
            time.sleep(0.3)
            self.read()
        return self.book


class Book:
    """What a sink has seen."""

    def __init__(self):
        self.messages, self.arrivals, self.senders = 0, collections.Counter(), collections.Counter()
        self.by_ip, self.open, self.peak = collections.Counter(), collections.Counter(), collections.Counter()
        self.connections, self.open_all, self.peak_all = 0, 0, 0
        self.identities = collections.defaultdict(set)
        # When each recipient got it first, the repeated deliveries, and when connections came and went.
        self.times, self.repeats, self.comings = {}, [], []
        # Recipients of messages whose content was not what their X-Check says (`--check` of the sink).
        self.wrong = []

    def line(self, line):
        kind, number, ip, at, *rest = line.split(" ", 6)
        if kind == "+":
            self.connections += 1
            self.comings.append((float(at), 1))
            self.open[ip] += 1
            self.open_all += 1
            self.peak[ip] = max(self.peak[ip], self.open[ip])
            self.peak_all = max(self.peak_all, self.open_all)
        elif kind == "-":
            self.open[ip] -= 1
            self.open_all -= 1
            self.comings.append((float(at), -1))
        elif kind == "w":
            self.wrong.append(rest[-1])
        else:
            self.messages += 1
            self.by_ip[ip] += 1
            identity, sender, recipients = rest
            self.senders[sender] += 1
            for recipient in recipients.split(","):
                self.arrivals[recipient] += 1
                # The same message again is a repeated delivery; another message to the same address is not.
                if identity in self.identities[recipient]:
                    self.repeats.append(recipient)
                self.identities[recipient].add(identity)
                self.times.setdefault(recipient, float(at))

    def open_during(self, begin, end):
        """Connections that were open at some time from `begin` to `end`."""
        return sum(step for at, step in self.comings if at < (begin if step < 0 else end))


class SmtpSink:
    """Postfix's smtp-sink with its counters."""

    def __init__(self, stage, *flags):
        self.port = free_port()
        self.counters = stage.path("smtp-sink.out")
        out = open(self.counters, "wb")
        self.process = stage.spawn([need("smtp-sink"), "-c", *as_somebody(), *flags, f"127.0.0.1:{self.port}", "1024"],
                                   stdout=out, stderr=subprocess.STDOUT)
        out.close()
        stage.wait("smtp-sink", lambda: listens(self.port), 10)

    def counts(self):
        """Sessions, quits and messages, as smtp-sink prints them."""
        last = self.counters.read_bytes().decode(errors="replace").rstrip("\r\n").split("\r")[-1]
        found = re.findall(r"(\w+)=(\d+)", last)
        return {name: int(count) for name, count in found}


def as_somebody():
    """smtp-sink does not run as root."""
    return ["-u", "nobody"] if os.geteuid() == 0 else []


def listens(port):
    """Whether somebody listens on a port of 127.0.0.1."""
    with open("/proc/net/tcp") as table:
        return any(line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "0A" for line in table.readlines()[1:])


class Watch(threading.Thread):
    """Samples the kernel's list of established connections to a port: how many at most, from which addresses."""

    def __init__(self, port, every=0.05):
        super().__init__(daemon=True)
        self.suffix, self.every = f":{port:04X}", every
        self.peak, self.peak_all, self.samples = collections.Counter(), 0, 0
        self.ended = threading.Event()
        self.start()

    def run(self):
        while not self.ended.wait(self.every):
            # The list is read in pieces while it changes: a socket may come twice.
            sockets = set()
            with open("/proc/net/tcp") as table:
                for line in table:
                    fields = line.split(None, 4)
                    if fields[2].endswith(self.suffix) and fields[3] == "01":
                        sockets.add(fields[1])
            now = collections.Counter(".".join(map(str, int(one[:8], 16).to_bytes(4, "little"))) for one in sockets)
            self.samples += 1
            self.peak_all = max(self.peak_all, sum(now.values()))
            for ip, count in now.items():
                self.peak[ip] = max(self.peak[ip], count)

    def stop(self):
        self.ended.set()
        self.join()
        return self
