"""A stage: one temporary directory, the processes that were started on it, and what was found out."""

import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time


class Failed(Exception):
    """The check cannot go on."""


class Skipped(Exception):
    """The check needs something that this host does not have."""


class Stage:
    """Ends every process that was started on it, by its id, and removes its directory."""

    def __init__(self, name, options):
        self.name, self.options = name, options
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix=f"staffetta-{name}-"))
        self.folder.chmod(0o755)
        self.processes, self.closers, self.facts = [], [], []
        self.deadline = time.monotonic() + options.seconds

    def say(self, text):
        """A line about what is being done."""
        if not self.options.json:
            print(f"  {text}", flush=True)

    def fact(self, name, ok, **figures):
        """Something that must be so, with the figures that show it."""
        self.facts.append((name, bool(ok)))
        if self.options.json:
            print(json.dumps({"check": self.name, "fact": name, "pass": bool(ok), **figures}, default=str), flush=True)
        else:
            shown = "  ".join(f"{key}={brief(value)}" for key, value in figures.items())
            print(f"  {'ok  ' if ok else 'FAIL'} {name}" + (f": {shown}" if shown else ""), flush=True)
        return ok

    def spawn(self, command, **extra):
        """Starts a process that will not outlive the stage."""
        process = subprocess.Popen([str(part) for part in command], **extra)
        self.processes.append(process)
        return process

    def run(self, command, seconds=60, **extra):
        """Runs a command to its end."""
        return subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=seconds,
                              stdin=subprocess.DEVNULL, **extra)

    def wait(self, what, done, seconds=30, every=0.05):
        """Waits until `done` gives something true, and gives it back."""
        until = min(time.monotonic() + seconds, self.deadline)
        while True:
            found = done()
            if found:
                return found
            if time.monotonic() > until:
                raise Failed(f"waited {seconds} s in vain for {what}")
            time.sleep(every)

    def path(self, name):
        return self.folder / name

    def write(self, name, text):
        path = self.path(name)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    def close(self):
        for closer in reversed(self.closers):
            try:
                closer()
            except Exception as error:  # what is left must be ended all the same
                print(f"  while ending: {error}", file=sys.stderr)
        for process in reversed(self.processes):
            end(process)
        if self.options.keep:
            print(f"  kept: {self.folder}", file=sys.stderr)
        else:
            shutil.rmtree(self.folder, ignore_errors=True)


def end(process, patience=10):
    """Ends a process by its id: SIGTERM, and SIGKILL when it does not listen."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for pipe in (process.stdout, process.stderr, process.stdin):
        if pipe:
            pipe.close()


def brief(value):
    if isinstance(value, float):
        return f"{value:,.2f}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return json.dumps(value, default=str, ensure_ascii=False) if isinstance(value, (dict, list, tuple)) else str(value)


def need(*tools):
    """Names the first tool that is missing."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    found = []
    for tool in tools:
        place = shutil.which(tool, path=path)
        if not place:
            raise Skipped(f"`{tool}` is not installed")
        found.append(place)
    return found if len(found) > 1 else found[0]


def free_port(address="127.0.0.1"):
    """A port that nobody uses at this moment, below those that the kernel gives to connections."""
    first = int(pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    for _ in range(200):
        port = 10_000 + int.from_bytes(os.urandom(2), "big") % max(1, first - 10_000)
        with socket.socket() as probe:
            try:
                probe.bind((address, port))
                return port
            except OSError:
                continue
    raise Failed("no free port was found")
