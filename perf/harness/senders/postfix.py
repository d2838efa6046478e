"""Postfix, as the distribution ships it, in an instance of its own: configuration, queue, log and ports."""

import os
import pathlib
import shutil
import subprocess
import time

from .. import stage
from .sender import Sender

DAEMONS = ("/usr/lib/postfix/sbin", "/usr/libexec/postfix", "/usr/lib/postfix")
QUEUES = ("maildrop", "incoming", "active", "deferred")


class Postfix(Sender):
    name = "postfix"
    durable = True
    durability = "fsync of each queue file before its 250"

    @classmethod
    def missing(cls, options, scenario):
        if not stage.find_program("postfix") or not daemons():
            return "not installed"
        if os.geteuid() != 0:
            return "its master runs only as root"
        if scenario.signed and not stage.find_program("opendkim"):
            return "opendkim, which signs for it, is not installed"
        return None

    @classmethod
    def version(cls, options):
        done = subprocess.run([stage.find_program("postconf"), "-dh", "mail_version"], capture_output=True, text=True)
        return f"Postfix {done.stdout.strip()}"

    def start(self):
        self.port, self.milter_port = stage.free_port(), stage.free_port()
        self.base, self.signer, self.master = self.place.dir / "postfix", None, None
        self.program = stage.find_program("postfix")
        for name in ("", "etc", "queue", "lib"):
            (self.base / name).mkdir(mode=0o755)
        shutil.chown(self.base / "lib", "postfix")
        if self.scenario.signed:
            self.start_signer()
        self.configure(held=False)
        started = subprocess.run(self.group.wrap(self.place.pinned(self.command("start"))), stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if started.returncode != 0:
            raise stage.Void(f"Postfix did not start: {started.stderr[-500:]}")
        stage.wait_for_port(self.port)
        self.master = int((self.base / "queue/pid/master.pid").read_text())
        self.group.roots = [self.master] + ([self.signer.pid] if self.signer else [])

    def start_signer(self):
        key = self.place.signing_key()
        shutil.chown(key, "postfix")
        file = self.base / "etc/opendkim.conf"
        file.write_text(stage.fill(stage.PEERS / "postfix/opendkim.conf", key=key, milter_port=self.milter_port))
        command = self.place.pinned([stage.find_program("opendkim"), "-f", "-x", str(file)])
        self.signer = self.place.start(self.group.wrap(command))
        stage.wait_for_port(self.milter_port, self.signer)

    def configure(self, held):
        scenario, folder = self.scenario, stage.PEERS / "postfix"
        many = max(scenario.connections_in, scenario.connections_out)
        main = stage.fill(
            folder / "main.cf", base=self.base, commands=os.path.dirname(self.program), daemons=daemons(), sink_port=self.sink.port,
            processes=max(200, 2 * many), connections=scenario.connections_out, sink_port_list=f"[127.0.0.1]:{self.sink.port}",
            tls="encrypt" if scenario.tls else "none", tls_reuse="yes" if scenario.tls else "no",
            milter=f"inet:127.0.0.1:{self.milter_port}" if scenario.signed else "")
        (self.base / "etc/main.cf").write_text(main)
        (self.base / "etc/master.cf").write_text(stage.fill(folder / "master.cf", port=self.port, qmgr="#" if held else ""))

    def command(self, verb):
        return [self.program, "-c", str(self.base / "etc"), verb]

    def reload(self):
        subprocess.run(self.command("reload"), stdin=subprocess.DEVNULL, capture_output=True, check=True)

    def hold(self):
        self.configure(held=True)
        self.reload()
        # Old processes end after their current client; nobody is connected now.
        time.sleep(1.5)

    def release(self):
        self.configure(held=False)
        self.reload()

    def queued(self):
        return sum(len(files) for name in QUEUES for _, _, files in os.walk(self.base / "queue" / name))

    def settle(self, delivered):
        until = time.monotonic() + 30
        while self.queued():
            if time.monotonic() > until:
                raise stage.Void(f"{self.queued()} messages stay in its queue")
            time.sleep(0.05)

    def stop(self):
        if self.master is None:
            return super().stop()
        subprocess.run(self.command("stop"), stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
        until = time.monotonic() + 10
        while pathlib.Path(f"/proc/{self.master}").exists() and time.monotonic() < until:
            time.sleep(0.05)
        if self.signer and self.signer.poll() is None:
            self.signer.terminate()
            self.signer.wait()
        super().stop()


def daemons():
    return next((folder for folder in DAEMONS if os.path.exists(f"{folder}/qmgr")), None)
