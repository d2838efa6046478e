"""KumoMTA, by the path of a `kumod`; in its default (not durable) form, and with every message synced."""

import os
import signal
import subprocess

from .. import stage
from .sender import Sender


class Kumomta(Sender):
    name = "kumomta"
    durable = False
    durability = "RocksDB without sync: what was acknowledged in the last moments is lost with the power"
    synced = "0"

    @classmethod
    def missing(cls, options, scenario):
        return None if options.kumomta else "not installed (--kumomta PATH)"

    @classmethod
    def version(cls, options):
        done = subprocess.run([options.kumomta, "--version"], capture_output=True, text=True)
        return (done.stdout or done.stderr).strip()

    def start(self):
        self.port, http, self.is_held = stage.free_port(), stage.free_port(), False
        base = self.place.dir / "kumomta"
        for name in ("logs", "spool/data", "spool/meta"):
            (base / name).mkdir(parents=True)
        environment = dict(
            os.environ, PERF_BASE=str(base), PERF_PORT=str(self.port), PERF_HTTP=str(http), PERF_SINK=str(self.sink.port),
            PERF_CONNECTIONS=str(self.scenario.connections_out), PERF_SYNC=self.synced,
            PERF_TLS="RequiredInsecure" if self.scenario.tls else "Disabled")
        if self.scenario.signed:
            environment["PERF_KEY"] = str(self.place.signing_key())
        command = self.place.pinned([str(self.place.kumomta), "--policy", str(stage.PEERS / "kumomta/init.lua"), "--user", "root"])
        self.process = self.place.start(self.group.wrap(command), env=environment, cwd=base)
        self.group.roots = [self.process.pid]
        stage.wait_for_port(self.port, self.process)

    def hold(self):
        """The sink reads nothing more. KumoMTA's own suspensions put mail back until its retry time, so that what follows
        a release would be timed by that."""
        self.sink.freeze()
        self.is_held = True

    def release(self):
        self.sink.thaw()
        self.is_held = False

    def stop(self):
        if self.is_held:
            self.release()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                pass
        super().stop()


class KumomtaSync(Kumomta):
    name = "kumomta-sync"
    durable = True
    durability = "set_force_sync: the message's spool writes are synced before its 250"
    synced = "1"
