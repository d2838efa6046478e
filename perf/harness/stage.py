"""What one run stands on: a place for the spools and the processes, the processors they may use, keys, ports."""

import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import time

from .place import Place

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PEERS = ROOT / "perf" / "peers"
TOKEN = re.compile(r"@([a-z_]+)@")


class Void(Exception):
    """A run whose figures mean nothing, and why."""


class Stage(Place):
    """The place of one run of `perf/run`."""

    def __init__(self, options):
        super().__init__("staffetta-perf-", options.data)
        self.bin, self.cpus, self.kumomta = options.bin, options.cpus, options.kumomta
        # A sender that gives up root must find its way in.
        self.dir.chmod(0o755)

    def tool(self, name, *arguments):
        """A command line of one of this project's programs."""
        return self.pinned([str(self.bin / name), *map(str, arguments)])

    def pinned(self, command):
        return ["taskset", "-c", self.cpus, *command] if self.cpus else command

    def start(self, command, stdout=subprocess.DEVNULL, **more):
        """A process that ends with the stage; what it complains of is in `log`."""
        return self.begin(command, f"{len(self.processes)}.log", stdout, **more)

    def log(self):
        """The last words of everything that was started."""
        return "".join(file.read_text(errors="replace")[-1000:] for file in sorted(self.dir.glob("*.log")))

    def answer(self, command):
        """What a program says in its last line, which is JSON."""
        done = subprocess.run(command, capture_output=True, text=True)
        lines = done.stdout.splitlines()
        if not lines:
            raise Void(f"{pathlib.Path(command[-1]).name} said nothing: {done.stderr[-500:]}")
        return json.loads(lines[-1])

    def certificate(self):
        """A certificate of its own and the key: RSA-2048, as mailbox providers have."""
        certificate, key = self.dir / "sink.crt", self.dir / "sink.key"
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=sink.perf.test", "-keyout", key, "-out", certificate]
        subprocess.run(command, check=True, capture_output=True)
        return certificate, key

    def signing_key(self):
        """An RSA-2048 key for DKIM, in the form that every signer reads."""
        key = self.dir / "dkim.pem"
        subprocess.run(["openssl", "genrsa", "-traditional", "-out", key, "2048"], check=True, capture_output=True)
        return key


def fill(file, **values):
    """The text of a configuration with its `@names@` replaced; a name without a value is a fault."""
    return TOKEN.sub(lambda token: str(values[token[1]]), file.read_text())


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for_port(port, process=None, seconds=30):
    """Until something listens there."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if process is not None and process.poll() is not None:
            raise Void("it ended at once")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise Void(f"nothing listens on port {port} after {seconds} s")


def find_program(name):
    """A program by its name, also where only root looks."""
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin:/usr/local/sbin")
