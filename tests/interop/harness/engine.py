"""The engine as its users run it: the binary, its configuration file, its command line and its HTTP API."""

import http.client
import json
import os
import select
import subprocess
import time

from .stage import Failed, end, free_port

BASE = """\
[node]
name = "mx.staffetta.test"
data_dir = "data"
shards = 2

[spool]
segment = "64MiB"
min_free = "64MiB"

[[smtp_listener]]
address = "127.0.0.1:{smtp}"
trusted = ["127.0.0.0/8"]

[http]
address = "127.0.0.1:{http}"
"""

SOURCES = "".join(f'\n[[source]]\nname = "s{last}"\nip = "127.0.0.{last}"\nehlo = "out{last}.staffetta.test"\n'
                  for last in (2, 3, 4, 5))


def route(port, domain="*", tls="off"):
    return f'\n[[route]]\ndomain = "{domain}"\nhosts = ["127.0.0.1:{port}"]\ntls = "{tls}"\n'


class Engine:
    """One engine with a directory of its own on the stage. `binary` and `environment` (what is added to this one) are for
    engines that are not the one under test."""

    def __init__(self, stage, extra, name="engine", base=BASE, binary=None, environment=None):
        self.stage, self.binary = stage, binary or stage.options.binary
        self.environment = {**os.environ, **(environment or {})}
        self.smtp, self.http = free_port(), free_port()
        self.folder = stage.path(name)
        self.folder.mkdir()
        self.config = self.folder / "staffetta.toml"
        self.config.write_text(base.format(smtp=self.smtp, http=self.http) + extra)
        self.process, self.starts = None, 0

    def launch(self, *flags):
        """Runs `serve` and waits for nothing."""
        self.starts += 1
        log = open(self.folder / f"log.{self.starts}", "wb")
        self.process = self.stage.spawn([self.binary, "serve", "--config", self.config, *flags],
                                        stdout=subprocess.PIPE, stderr=log, env=self.environment)
        log.close()

    def start(self, *flags, patience=60):
        """Runs `serve` until it says `ready`; gives the seconds that took."""
        began = time.monotonic()
        self.launch(*flags)
        line = read_line(self.process, patience)
        if not line.startswith("ready "):
            raise Failed(f"the engine did not say `ready` but `{line}`; its log ends: {self.log()[-800:]}")
        return time.monotonic() - began

    def log(self):
        return (self.folder / f"log.{self.starts}").read_text(errors="replace")

    def kill(self):
        """kill -9"""
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def stop(self):
        """SIGTERM; gives exit status and seconds."""
        began = time.monotonic()
        self.process.terminate()
        status = self.process.wait(60)
        end(self.process)
        return status, time.monotonic() - began

    def command(self, *arguments):
        """A command line of staffetta for this engine."""
        return [self.binary, *arguments, "--config", self.config]

    def cli(self, *arguments, seconds=60):
        return self.stage.run(self.command(*arguments), seconds)

    def cli_json(self, *arguments, seconds=60):
        done = self.cli(*arguments, "--json", seconds=seconds)
        if done.returncode:
            raise Failed(f"staffetta {' '.join(map(str, arguments))} failed: {done.stderr.strip()}")
        return json.loads(done.stdout)

    def ledger(self):
        return self.cli_json("ledger")

    def http_ask(self, method, path, body=None, kind="application/json", seconds=60):
        """Status and answer of the HTTP API."""
        connection = http.client.HTTPConnection("127.0.0.1", self.http, timeout=seconds)
        try:
            if isinstance(body, (dict, list)):
                body = json.dumps(body)
            connection.request(method, path, body=body, headers={"Content-Type": kind} if body is not None else {})
            answer = connection.getresponse()
            text = answer.read()
            try:
                return answer.status, json.loads(text)
            except ValueError:
                return answer.status, text.decode(errors="replace")
        finally:
            connection.close()

    def wait_empty(self, seconds, accepted=0):
        """Waits until nothing is queued and at least so much was accepted; gives the ledger."""
        found = {}

        def done():
            found.update(self.ledger())
            return found["queued"] == 0 and found["accepted"] >= accepted
        try:
            self.stage.wait("an empty queue", done, seconds, every=0.25)
        except Failed as error:
            raise Failed(f"{error}; the ledger: {found}; the log ends: {self.log()[-600:]}") from None
        return found

    def cpu_seconds(self):
        """CPU that the engine has used since its start."""
        with open(f"/proc/{self.process.pid}/stat", "rb") as stat:
            fields = stat.read().rpartition(b")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def balances(ledger):
    """accepted is the sum of all outcomes and what is queued."""
    parts = ("delivered", "bounced", "expired", "cancelled", "suppressed", "queued")
    return ledger["accepted"] == sum(ledger[part] for part in parts)


def read_line(process, patience):
    """The first line of a process; empty when it ended or took too long."""
    until = time.monotonic() + patience
    text = b""
    while not text.endswith(b"\n"):
        ready, _, _ = select.select([process.stdout], [], [], max(0, until - time.monotonic()))
        piece = os.read(process.stdout.fileno(), 1) if ready else b""
        if not piece:
            break
        text += piece
    return text.decode(errors="replace").strip()
