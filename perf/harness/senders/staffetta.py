"""This project's engine."""

import subprocess
import time

from .. import load, stage
from ..place import stop
from .control import Control
from .sender import Sender


class Staffetta(Sender):
    name = "staffetta"
    durable = True
    durability = "fdatasync before each 250, shared by the messages that arrive meanwhile"
    process = None

    @classmethod
    def version(cls, options):
        done = subprocess.run([options.bin / "staffetta", "--version"], capture_output=True, text=True)
        return done.stdout.strip()

    def start(self):
        self.port = stage.free_port()
        file = self.place.dir / "staffetta.toml"
        file.write_text(self.configuration())
        command = self.group.wrap(self.place.tool("staffetta", "serve", "--config", file))
        process = self.place.start(command, stdout=subprocess.PIPE)
        self.group.roots, self.process = [process.pid], process
        line = process.stdout.readline()
        if "ready" not in line:
            raise stage.Void(f"the engine did not start: {line}{self.place.log()}")
        self.control = Control(self.place.dir / "control.sock")

    def configuration(self):
        scenario, folder = self.scenario, stage.PEERS / "staffetta"
        domain = stage.fill(folder / "signing.toml", key=self.place.signing_key()) if scenario.signed else ""
        return stage.fill(
            folder / "staffetta.toml", dir=self.place.dir, port=self.port, sink_port=self.sink.port,
            shards=f"shards = {scenario.shards}" if scenario.shards else "", tls="required" if scenario.tls else "off", connections=max(1, scenario.connections_out // scenario.sites),
            pipeline_depth=f"pipeline_depth = {scenario.pipeline_depth}" if scenario.pipeline_depth else "", domain=domain, routes=self.routes())

    def routes(self):
        """The way to each domain, where it is not the same for all."""
        scenario, text = self.scenario, ""
        for number in range(scenario.destinations if scenario.sites > 1 else 0):
            site = number % scenario.sites + 1
            host = f"127.{site >> 16}.{site >> 8 & 255}.{site & 255}:{self.sink.port}"
            text += f'[[route]]\ndomain = "{load.domain(scenario, f"{number:05}")}"\nhosts = ["{host}"]\n\n'
        return text

    def hold(self):
        answer = self.control.post("/v1/queue/suspend", {"for": "12h", "reason": "held for a measurement"})
        if not answer["paths"]:
            raise stage.Void("there was no path to hold")

    def release(self):
        self.control.post("/v1/queue/resume")

    def ledger(self):
        return self.control.get("/v1/ledger")

    def queued(self):
        return self.ledger()["queued"]

    def delivered(self):
        return self.ledger()["delivered"]

    def settle(self, delivered):
        until = time.monotonic() + 60
        while self.ledger()["delivered"] < delivered:
            if time.monotonic() > until:
                raise stage.Void(f"the ledger does not say that all are delivered: {self.ledger()}")
            time.sleep(0.02)

    def figures(self):
        ledger = self.ledger()
        kept = sum(ledger[name] for name in ("delivered", "bounced", "expired", "cancelled", "suppressed", "queued"))
        if ledger["accepted"] != kept:
            raise stage.Void(f"the ledger does not balance: {ledger}")
        return {"unknown_retries": ledger["unknown_retries"]}

    def stop(self):
        if self.process and self.process.poll() is None:
            stop(self.process)
        super().stop()
