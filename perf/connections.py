#!/usr/bin/env python3
"""Connections: a campaign goes to a slow receiver over as many connections as are asked for, and what each costs in memory."""

import argparse
import json
import resource
import time

import bench
import campaign
import latency


def allow_files(count):
    """The engine and the sink each need a file per connection, and inherit this process's limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + 1000
    if hard != resource.RLIM_INFINITY and hard < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
    elif soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def watch(engine, control, recipients):
    """Waits until all is delivered; the most connections and anonymous memory that were seen."""
    connections, anonymous, until = 0, 0, time.monotonic() + 600
    while True:
        open_now = sum(path["connections"] for path in control.get("/v1/queue")["paths"])
        connections = max(connections, open_now)
        anonymous = max(anonymous, bench.memory(engine.pid)["RssAnon"])
        if control.get("/v1/ledger")["delivered"] >= recipients:
            return connections, anonymous
        if time.monotonic() > until:
            raise RuntimeError("not delivered in time")
        time.sleep(0.2)


def one_run(options, html, body):
    with bench.Bench(options) as run:
        port, sink_port = bench.free_port(), bench.free_port()
        more = ["--cert", latency.certificate(run) / "cert.pem", "--key", run.dir / "key.pem"] if options.tls else []
        sink = run.sink(sink_port, "--latency", options.latency, *more)
        engine = run.serve(bench.config(
            run, options, port, sink_port, options.connections,
            tls="required" if options.tls else "off", more='[deliver]\nidle_timeout = "10m"'))
        control = bench.Control(run.dir / "control.sock")
        identifier = control.post("/v1/campaigns", {
            "name": "perf", "from": "news@perf.test", "subject": "News for {{ first_name }}", "html": html})["id"]
        control.request("POST", f"/v1/campaigns/{identifier}/recipients", body, "text/csv")
        time.sleep(2)
        before = bench.memory(engine.pid)["RssAnon"]
        cpu_before, begun = bench.cpu_seconds(engine.pid), time.monotonic()
        control.post(f"/v1/campaigns/{identifier}/start")
        connections, busy = watch(engine, control, options.recipients)
        seconds = time.monotonic() - begun
        cpu = bench.cpu_seconds(engine.pid) - cpu_before
        time.sleep(3)
        idle = bench.memory(engine.pid)["RssAnon"]
        open_now = sum(path["connections"] for path in control.get("/v1/queue")["paths"])
        bench.Bench.stop(engine)
        received = json.loads(bench.Bench.stop(sink).splitlines()[-1])
        return {
            "connections_at_most": connections,
            "connections_idle": open_now,
            "busy_bytes_per_connection": round((busy - before) / max(1, connections)),
            "idle_bytes_per_connection": round((idle - before) / max(1, open_now)),
            "delivered_per_second": round(options.recipients / seconds, 1),
            "deliver_cpu_us_per_message": round(cpu * 1e6 / options.recipients, 1),
            "sink_messages": received["messages"],
            "sink_duplicates": received["duplicates"],
        }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--recipients", type=int, default=60_000)
    parser.add_argument("--latency", default="500ms", help="how long the receiver takes for each reply")
    parser.add_argument("--tls", action="store_true", help="under TLS")
    parser.add_argument("--template-bytes", type=int, default=10_240)
    parser.add_argument("--shards", type=int, default=0)
    options = bench.arguments(parser)
    bench.need(options.bin, "staffetta")
    allow_files(options.connections)
    html, body = campaign.template(options.template_bytes), campaign.recipients(options.recipients)
    runs = []
    for number in range(options.runs):
        runs.append(one_run(options, html, body))
        print(f"run {number + 1}: {json.dumps(runs[-1])}", flush=True)
    names = ("connections", "recipients", "latency", "tls", "template_bytes", "shards", "cpus")
    bench.record("connections", options, {name: getattr(options, name) for name in names}, runs)


if __name__ == "__main__":
    main()
