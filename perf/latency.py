#!/usr/bin/env python3
"""Latency: a waiting queue goes out to one receiver that is far away; the engine with one and with 16 messages on the wire
of a connection, and Postfix, side by side. Each measurement is a fresh start; the senders take turns."""

import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import time

import bench

sys.path.insert(0, str(bench.ROOT / "tests" / "interop"))
sys.dont_write_bytecode = True
from harness import postfix as other  # noqa: E402  (the path is set above)

# Postfix as a sender: all mail to the sink, over as many connections, which are kept.
SENDING = """
relayhost = [127.0.0.1]:{sink}
default_transport = smtp
defer_transports = smtp
smtp_tls_security_level = none
smtp_destination_concurrency_limit = {connections}
initial_destination_concurrency = {connections}
default_destination_concurrency_limit = {connections}
smtp_connection_cache_destinations = [127.0.0.1]:{sink}
smtp_connection_reuse_time_limit = 3600s
connection_cache_ttl_limit = 3600s
qmgr_message_active_limit = 50000
default_process_limit = 200
maximal_queue_lifetime = 1d
minimal_backoff_time = 3600s
maximal_backoff_time = 3600s
"""
LATENCIES = [0, 20, 100]
CONNECTIONS = [1, 8, 64]
SENDERS = ["engine depth 1", "engine depth 16", "Postfix"]
# So many messages at least and at most, and what a sender may do without any latency.
MESSAGES_MIN, MESSAGES_MAX = 60, 40_000
CEILING = {"engine": 10_000, "Postfix": 500}
# The beginning, while connections are being opened, does not count.
SKIPPED = 0.25


class Setting:
    """One cell of the table."""

    def __init__(self, sender, latency, connections, tls=False):
        self.sender, self.latency, self.connections, self.tls = sender, latency, connections, tls
        self.depth = int(sender.rsplit(" ", 1)[1]) if sender.startswith("engine") else 1
        self.name = f"{sender}{', TLS' if tls else ''}, {latency} ms, {connections} connections"

    def messages(self, seconds):
        """As many as take about so long."""
        kind = "engine" if self.sender.startswith("engine") else "Postfix"
        round_trips = 1 if kind == "engine" else 3
        rate = CEILING[kind]
        if self.latency:
            rate = min(rate, self.connections * self.depth * 1000 / self.latency / round_trips)
        return int(min(max(rate * seconds, MESSAGES_MIN), MESSAGES_MAX))


def measure(options, setting):
    """One fresh start: fill, let go, count."""
    with bench.Bench(options) as run:
        messages = setting.messages(options.seconds)
        sink_port, ids = bench.free_port(), run.dir / "ids"
        sink = start_sink(run, sink_port, ids, setting)
        send = by_postfix if setting.sender == "Postfix" else by_engine
        cpu_us = send(run, options, setting, sink_port, messages, lambda: arrived(ids))
        received = json.loads(bench.Bench.stop(sink).splitlines()[-1])
        times = sorted(int(line.split(" ", 1)[0]) for line in ids.read_text().splitlines())
    first = int(len(times) * SKIPPED)
    return {
        "messages_per_second": round((len(times) - 1 - first) * 1000 / max(1, times[-1] - times[first]), 1),
        "cpu_us_per_message": round(cpu_us / messages, 1),
        "messages": messages,
        "duplicates": received["duplicates"],
        "connections_peak": received["connections_peak"],
    }


def start_sink(run, port, ids, setting):
    more = ["--cert", certificate(run) / "cert.pem", "--key", run.dir / "key.pem"] if setting.tls else []
    sink = run.start("staffetta", "sink", "--listen", f"127.0.0.1:{port}", "--json", "--quiet", "--ids", ids, "--latency", f"{setting.latency}ms", *more,
                     stdout=subprocess.PIPE)
    sink.stdout.readline()
    return sink


def certificate(run):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=sink.perf.test",
                    "-keyout", run.dir / "key.pem", "-out", run.dir / "cert.pem"], check=True, capture_output=True)
    return run.dir


def arrived(ids):
    return ids.read_bytes().count(b"\n") if ids.exists() else 0


def by_engine(run, options, setting, sink_port, messages, count):
    port = bench.free_port()
    engine = run.serve(bench.config(
        run, options, port, sink_port, setting.connections, setting.depth, "opportunistic" if setting.tls else "off",
        more='[deliver]\nidle_timeout = "60s"'))
    lead = 2.5 + messages / 4000
    start = time.time() + lead
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(start))
    inject(run, port, options, messages, f"X-Staffetta-Not-Before: {moment}")
    if time.time() > int(start):
        raise RuntimeError("the queue was not full in time")
    time.sleep(max(0.0, int(start) - 0.3 - time.time()))
    before = bench.cpu_seconds(engine.pid)
    wait(lambda: count() >= messages, options.patience)
    bench.Control(run.dir / "control.sock").wait_delivered(messages)
    cpu = bench.cpu_seconds(engine.pid) - before
    bench.Bench.stop(engine)
    return cpu * 1e6


class Stage:
    """As much of the acceptance checks' stage as their Postfix needs."""

    def __init__(self, run):
        self.folder, self.closers = run.dir, []

    def path(self, name):
        return self.folder / name

    def run(self, command, seconds=60):
        return subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=seconds)

    def wait(self, what, done, seconds=30):
        wait(done, seconds, what)


def by_postfix(run, options, setting, sink_port, messages, count):
    """Fills its queue while it may not send, then lets it."""
    run.dir.chmod(0o755)
    postfix = other.Postfix(Stage(run))
    settings = postfix.base / "etc/main.cf"
    text = "\n".join(line for line in settings.read_text().splitlines() if not line.startswith(("default_transport", "default_destination", "qmgr_message_active")))
    held = text + SENDING.format(sink=sink_port, connections=setting.connections)
    settings.write_text(held)
    master = postfix.base / "etc/master.cf"
    master.write_text(master.read_text() + "scache    unix - - n - 1 scache\n")
    postfix.start()
    try:
        inject(run, postfix.port, options, messages)
        settings.write_text(held.replace("defer_transports = smtp", ""))
        before = tree_cpu(postfix)
        postfix.postfix("reload")
        subprocess.run(["postqueue", "-c", str(postfix.base / "etc"), "-f"], check=True, capture_output=True)
        wait(lambda: count() >= messages, options.patience)
        time.sleep(0.5)
        return (tree_cpu(postfix) - before) * 1e6
    finally:
        postfix.stop()


def tree_cpu(postfix):
    """User and system time of its master and of everything below it, those that have ended included."""
    master = int((postfix.base / "queue/pid/master.pid").read_text())
    parents, times = {}, {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rsplit(") ", 1)[1].split()
            except OSError:
                continue
            parents[int(entry.name)] = int(fields[1])
            times[int(entry.name)] = sum(int(field) for field in fields[11:15])
    below = [pid for pid in times if pid == master or parents[pid] == master]
    return sum(times[pid] for pid in below) / bench.TICKS


def inject(run, port, options, messages, header=None):
    run.run("inject", "--to", f"127.0.0.1:{port}", "--connections", 20, "--messages", messages, "--bytes", options.bytes,
            "--from", "sender@perf.test", "--rcpt", "user{n}@sink.test", *(["--header", header] if header else []))


def wait(done, seconds, what="the messages"):
    until = time.monotonic() + seconds
    while not done():
        if time.monotonic() > until:
            raise RuntimeError(f"waited {seconds} s in vain for {what}")
        time.sleep(0.05)


def settings_of(options):
    senders = [sender for sender in SENDERS if sender != "Postfix" or options.postfix]
    cells = [Setting(sender, latency, connections) for latency in options.latencies for connections in options.connections for sender in senders]
    if options.tls:
        cells += [Setting("engine depth 16", 0, connections, tls=True) for connections in options.connections]
    return cells


def table(cells, found):
    print(f"\n{'':46} {'messages/s':>12} {'CPU µs/message':>15}")
    for cell in cells:
        median = found[cell.name]
        print(f"{cell.name:46} {median['messages_per_second']:>12,.1f} {median['cpu_us_per_message']:>15,.1f}")


def targets(found):
    """What is promised, where the cells for it were measured."""
    def rate(sender):
        return found.get(f"{sender}, 100 ms, 1 connections", {}).get("messages_per_second")
    one, deep, postfix = rate("engine depth 1"), rate("engine depth 16"), rate("Postfix")
    clear = found.get("engine depth 16, 0 ms, 64 connections", {}).get("cpu_us_per_message")
    tls = found.get("engine depth 16, TLS, 0 ms, 64 connections", {}).get("cpu_us_per_message")
    told = {}
    if one and deep:
        told["pipelined_by_one_at_a_time"] = round(deep / one, 2)
    if postfix and deep:
        told["pipelined_by_postfix"] = round(deep / postfix, 2)
    if clear and tls:
        told["tls_more_cpu_us"] = round(tls - clear, 1)
    return told


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--latencies", type=int, nargs="+", default=LATENCIES, metavar="MS")
    parser.add_argument("--connections", type=int, nargs="+", default=CONNECTIONS)
    parser.add_argument("--bytes", type=int, default=10_240)
    parser.add_argument("--seconds", type=float, default=4.0, help="about how long a measurement sends [4]")
    parser.add_argument("--patience", type=float, default=300.0, help="at most this long [300]")
    parser.add_argument("--shards", type=int, default=0)
    parser.add_argument("--durability", choices=["disk", "memory"], default="disk")
    parser.add_argument("--no-postfix", dest="postfix", action="store_false")
    parser.add_argument("--no-tls", dest="tls", action="store_false")
    options = bench.arguments(parser)
    bench.need(options.bin, "staffetta", "inject")
    os.environ["PATH"] += ":/usr/sbin"
    if options.postfix and (os.geteuid() != 0 or not shutil.which("postfix")):
        sys.exit("Postfix and root are needed for the comparison: give --no-postfix to measure the engine alone")
    cells = settings_of(options)
    runs = {cell.name: [] for cell in cells}
    for number in range(options.runs):
        for cell in cells:
            runs[cell.name].append(measure(options, cell))
            print(f"run {number + 1}: {cell.name}: {json.dumps(runs[cell.name][-1])}", flush=True)
    found = {name: bench.medians(some) for name, some in runs.items()}
    table(cells, found)
    parameters = {name: getattr(options, name) for name in ("latencies", "connections", "bytes", "seconds", "shards", "durability", "cpus", "runs")}
    flat = {"targets": targets(found), "cells": found, "spread": {name: spread(some) for name, some in runs.items()}}
    keep(options, parameters, flat, runs)


def spread(some):
    """Lowest and highest rate."""
    rates = [one["messages_per_second"] for one in some]
    return [min(rates), statistics.median(rates), max(rates)]


def keep(options, parameters, flat, runs):
    result = {"scenario": "latency", "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "commit": bench.commit(), "machine": bench.machine(),
              "note": options.note, "parameters": parameters, "median": flat, "runs": runs}
    if not options.no_record:
        bench.RESULTS.mkdir(exist_ok=True)
        with open(bench.RESULTS / "latency.jsonl", "a") as file:
            file.write(json.dumps(result) + "\n")
    print(json.dumps(flat["targets"], indent=2))


if __name__ == "__main__":
    main()
