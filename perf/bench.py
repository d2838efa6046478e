"""What the measurements share: processes, processor time, the control socket, results. Needs Python 3.9 and nothing else."""

import http.client
import json
import os
import pathlib
import platform
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
RESULTS = ROOT / "perf" / "results"
TICKS = os.sysconf("SC_CLK_TCK")


CONFIG = """
[node]
name = "engine.perf.test"
data_dir = "{dir}/data"
shards = {shards}
control = "{dir}/control.sock"
[spool]
durability = "{durability}"
min_free = "100MiB"
[[smtp_listener]]
address = "127.0.0.1:{port}"
trusted = ["127.0.0.0/8"]
[[route]]
domain = "*"
hosts = ["127.0.0.1:{sink}"]
tls = "{tls}"
[provider.routed]
connections = {out}
messages_per_connection = 1000000
pipeline_depth = {depth}
{more}
"""


def config(run, options, port, sink, out, depth=1, tls="off", more=""):
    """An engine that takes mail on `port` and sends all of it to `sink`; `more` is added to it."""
    durability = getattr(options, "durability", "disk")
    return CONFIG.format(
        dir=run.dir, shards=options.shards, durability=durability, port=port, sink=sink, out=out, depth=depth, tls=tls, more=more)


def arguments(parser):
    """Options that every scenario has."""
    parser.add_argument("--bin", type=pathlib.Path, default=default_bin(), help="directory of staffetta and inject")
    parser.add_argument("--cpus", default="0,1", help="processors that everything runs on (taskset); empty: all")
    parser.add_argument("--data", type=pathlib.Path, default=None, help="where the spool is put; default: a temporary directory")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--note", default="", help="text kept with the result")
    parser.add_argument("--no-record", action="store_true", help="print the result, do not add it to perf/results")
    return parser.parse_args()


def default_bin():
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return target / "release"


def need(directory, *names):
    for name in names:
        if not (directory / name).exists():
            sys.exit(f"{directory / name} is missing: cargo build --release -p staffetta -p perf, or give --bin")


class Bench:
    """A temporary directory and the processes of one run; all gone at its end."""

    def __init__(self, options):
        self.bin = options.bin
        self.cpus = options.cpus
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="staffetta-perf-", dir=options.data))
        self.processes = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.processes:
            if process.poll() is None:
                process.kill()
                process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)

    def command(self, name, *arguments):
        pin = ["taskset", "-c", self.cpus] if self.cpus else []
        return [*pin, str(self.bin / name), *map(str, arguments)]

    def start(self, name, *arguments, stdout=None):
        log = open(self.dir / f"{name}-{len(self.processes)}.log", "w")
        process = subprocess.Popen(self.command(name, *arguments), stdout=stdout or log, stderr=log, text=True)
        self.processes.append(process)
        return process

    def run(self, name, *arguments):
        done = subprocess.run(self.command(name, *arguments), capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"{name} failed: {done.stdout}{done.stderr}")
        return json.loads(done.stdout.splitlines()[-1])

    def sink(self, port, *arguments):
        process = self.start(
            "staffetta", "sink", "--listen", f"127.0.0.1:{port}", "--json", "--quiet", *arguments, stdout=subprocess.PIPE)
        wait_for_port(port, process)
        return process

    def serve(self, config):
        file = self.dir / "staffetta.toml"
        file.write_text(config)
        process = self.start("staffetta", "serve", "--config", file, stdout=subprocess.PIPE)
        line = process.stdout.readline()
        if "ready" not in line:
            logs = "".join(log.read_text() for log in self.dir.glob("staffetta-*.log"))
            raise RuntimeError(f"the engine did not start: {line}{logs}")
        return process

    @staticmethod
    def stop(process):
        """Asks politely and gives what it printed last."""
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=60)
        return out


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for_port(port, process):
    for _ in range(200):
        if process.poll() is not None:
            raise RuntimeError("the sink ended at once")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError(f"nothing listens on port {port}")


def cpu_seconds(pid):
    """User and system time of a process and its threads so far."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory(pid):
    """Resident bytes: all, and those that are not pages of files."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    found = dict(line.split(":", 1) for line in status.splitlines() if line.startswith(("VmRSS", "RssAnon")))
    return {name: int(value.split()[0]) * 1024 for name, value in found.items()}


class Control:
    """The engine's API over its control socket."""

    def __init__(self, path):
        self.path = str(path)

    def request(self, method, path, body=None, kind="application/json"):
        connection = http.client.HTTPConnection("localhost")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(self.path)
        headers = {"Content-Type": kind} if body is not None else {}
        connection.request(method, path, body=body, headers=headers)
        response = connection.getresponse()
        text = response.read()
        connection.close()
        if response.status >= 300:
            raise RuntimeError(f"{method} {path}: {response.status} {text[:300]}")
        return json.loads(text) if text else None

    def get(self, path):
        return self.request("GET", path)

    def post(self, path, value=None):
        return self.request("POST", path, json.dumps(value or {}).encode())

    def wait_delivered(self, count, seconds=600):
        """Waits until the ledger says that `count` are delivered; the ledger."""
        until = time.monotonic() + seconds
        while True:
            ledger = self.get("/v1/ledger")
            if ledger["delivered"] >= count:
                return ledger
            if time.monotonic() > until:
                raise RuntimeError(f"not delivered in time: {ledger}")
            time.sleep(0.05)


def machine():
    cpu = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    return {"cpu": cpu, "cores": os.cpu_count(), "kernel": platform.release()}


def commit():
    done = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty"], capture_output=True, text=True)
    return done.stdout.strip()


def medians(runs):
    """The median of every number that all runs have."""
    names = [name for name, value in runs[0].items() if isinstance(value, (int, float))]
    return {name: round(statistics.median(run[name] for run in runs), 3) for name in names}


def record(scenario, options, parameters, runs):
    result = {
        "scenario": scenario,
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "commit": commit(),
        "machine": machine(),
        "note": options.note,
        "parameters": parameters,
        "median": medians(runs),
        "runs": runs,
    }
    if not options.no_record:
        RESULTS.mkdir(exist_ok=True)
        with open(RESULTS / f"{scenario}.jsonl", "a") as file:
            file.write(json.dumps(result) + "\n")
    print(json.dumps(result["median"], indent=2))
