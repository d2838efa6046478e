#!/usr/bin/env python3
"""Relay: messages by SMTP in, durable on disk, by SMTP out to a sink; injector, engine and sink on the same processors."""

import argparse
import json
import time

import bench


def one_run(options):
    with bench.Bench(options) as run:
        port, sink_port = bench.free_port(), bench.free_port()
        sink = run.sink(sink_port)
        engine = run.serve(bench.config(
            run, options, port, sink_port, options.connections_out, options.pipeline_depth, more=signing(run, options)))
        control = bench.Control(run.dir / "control.sock")
        inject(run, port, options, options.warmup, 0)
        control.wait_delivered(options.warmup)
        before, sink_before = bench.cpu_seconds(engine.pid), bench.cpu_seconds(sink.pid)
        begun = time.time()
        injected = inject(run, port, options, options.messages, options.warmup)
        ledger = control.wait_delivered(options.warmup + options.messages)
        after, sink_after = bench.cpu_seconds(engine.pid), bench.cpu_seconds(sink.pid)
        memory = bench.memory(engine.pid)
        bench.Bench.stop(engine)
        received = json.loads(bench.Bench.stop(sink).splitlines()[-1])
        seconds = received["last_at_ms"] / 1000 - begun
        return {
            "messages_per_second": round(options.messages / seconds, 1),
            "engine_cpu_us_per_message": round((after - before) * 1e6 / options.messages, 1),
            "sink_cpu_us_per_message": round((sink_after - sink_before) * 1e6 / options.messages, 1),
            "inject_cpu_us_per_message": round(injected["cpu_us_per_message"], 1),
            "inject_per_second": round(injected["per_second"], 1),
            "accept_p50_ms": injected["latency_ms"]["p50"],
            "accept_p99_ms": injected["latency_ms"]["p99"],
            "engine_rss_mb": round(memory["VmRSS"] / 1e6, 1),
            "sink_messages": received["messages"],
            "sink_duplicates": received["duplicates"],
            "sink_connections_peak": received["connections_peak"],
            "delivered": ledger["delivered"],
        }


def inject(run, port, options, messages, first):
    return run.run(
        "inject", "--to", f"127.0.0.1:{port}", "--connections", options.connections_in, "--messages", messages,
        "--bytes", options.bytes, "--mode", options.mode, "--first", first,
        "--from", "sender@perf.test", "--rcpt", "user{n}@sink.test",
    )


def signing(run, options):
    if not options.sign:
        return ""
    done = run.command("staffetta", "init", "--dir", run.dir / "keys", "--domain", "perf.test")
    bench.subprocess.run(done, check=True, capture_output=True)
    key = next((run.dir / "keys" / "dkim").glob("*.rsa.pem"))
    return f"""
[[domain]]
name = "perf.test"
[[domain.dkim]]
selector = "s1"
key_file = "{key}"
algorithm = "rsa-sha256"
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=50_000)
    parser.add_argument("--warmup", type=int, default=5_000)
    parser.add_argument("--bytes", type=int, default=10_240)
    parser.add_argument("--connections-in", type=int, default=20)
    parser.add_argument("--connections-out", type=int, default=20)
    parser.add_argument("--pipeline-depth", type=int, default=1, help="transactions on the wire of one connection")
    parser.add_argument("--mode", choices=["lockstep", "pipelined", "flight"], default="lockstep", help="of the injector")
    parser.add_argument("--durability", choices=["disk", "memory"], default="disk")
    parser.add_argument("--shards", type=int, default=0)
    parser.add_argument("--sign", action="store_true", help="sign every message with RSA-2048")
    options = bench.arguments(parser)
    bench.need(options.bin, "staffetta", "inject")
    runs = []
    for number in range(options.runs):
        runs.append(one_run(options))
        print(f"run {number + 1}: {json.dumps(runs[-1])}", flush=True)
    parameters = {
        name: getattr(options, name)
        for name in ("messages", "bytes", "connections_in", "connections_out", "pipeline_depth", "mode", "durability", "shards", "sign", "cpus")
    }
    bench.record("relay", options, parameters, runs)


if __name__ == "__main__":
    main()
