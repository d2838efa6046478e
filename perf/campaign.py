#!/usr/bin/env python3
"""Campaign: a list is submitted over HTTP and waits; then it is started and delivered to a sink."""

import argparse
import json
import time

import bench

FIELDS = ["first_name", "city", "code", "product", "price"]


# The first steps of a campaign wait to be judged, which is not what is measured here.
WITHOUT_CANARY = "\n[canary]\nenabled = false\n"


def template(size):
    """About `size` bytes of HTML with the five merge fields in it."""
    row = "<tr><td style=\"padding:4px 8px\">A line of the newsletter about something worth reading</td></tr>\n"
    merged = "".join(f"<p>{name}: {{{{ {name} }}}}</p>\n" for name in FIELDS)
    head = f"<!doctype html><html><head><title>News</title></head><body>{merged}<table>\n"
    tail = "</table></body></html>\n"
    return head + row * max(0, (size - len(head) - len(tail)) // len(row)) + tail


def recipients(count):
    lines = ["email," + ",".join(FIELDS)]
    for n in range(count):
        lines.append(f"user{n:07d}@sink{n % 50}.test,Name{n % 1000},City {n % 300},{n:08x},Product {n % 40},{n % 90}.90")
    return ("\n".join(lines) + "\n").encode()


def one_run(options, html, body):
    with bench.Bench(options) as run:
        port, sink_port = bench.free_port(), bench.free_port()
        sink = run.sink(sink_port)
        engine = run.serve(bench.config(
            run, options, port, sink_port, options.connections_out, options.pipeline_depth, more=WITHOUT_CANARY))
        control = bench.Control(run.dir / "control.sock")
        campaign = control.post("/v1/campaigns", {
            "name": "perf", "from": "news@perf.test", "subject": "News for {{ first_name }}", "html": html,
            "list_unsubscribe_url": "https://perf.test/u"})["id"]
        memory_before = bench.memory(engine.pid)
        cpu_before, begun = bench.cpu_seconds(engine.pid), time.monotonic()
        answer = control.request("POST", f"/v1/campaigns/{campaign}/recipients", body, "text/csv")
        submitted = time.monotonic() - begun
        submit_cpu = bench.cpu_seconds(engine.pid) - cpu_before
        assert answer["accepted"] == options.recipients, answer
        time.sleep(2)
        memory_after = bench.memory(engine.pid)
        idle_before = bench.cpu_seconds(engine.pid)
        time.sleep(options.idle_seconds)
        idle = (bench.cpu_seconds(engine.pid) - idle_before) / options.idle_seconds
        spool = run.run("staffetta", "spool", "verify", run.dir / "data" / "spool", "--json")
        cpu_before, begun = bench.cpu_seconds(engine.pid), time.time()
        control.post(f"/v1/campaigns/{campaign}/start")
        control.wait_delivered(options.recipients)
        deliver_cpu = bench.cpu_seconds(engine.pid) - cpu_before
        bench.Bench.stop(engine)
        received = json.loads(bench.Bench.stop(sink).splitlines()[-1])
        return {
            "submitted_per_second": round(options.recipients / submitted, 1),
            "submit_cpu_us_per_recipient": round(submit_cpu * 1e6 / options.recipients, 2),
            "spool_bytes_per_recipient": round(spool["bytes"] / options.recipients, 1),
            "rss_bytes_per_waiting_recipient": round((memory_after["VmRSS"] - memory_before["VmRSS"]) / options.recipients, 1),
            "anonymous_bytes_per_waiting_recipient": round(
                (memory_after["RssAnon"] - memory_before["RssAnon"]) / options.recipients, 1),
            "idle_cpu_percent_of_a_core": round(idle * 100, 2),
            "delivered_per_second": round(options.recipients / (received["last_at_ms"] / 1000 - begun), 1),
            "deliver_cpu_us_per_message": round(deliver_cpu * 1e6 / options.recipients, 1),
            "sink_messages": received["messages"],
            "sink_duplicates": received["duplicates"],
        }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipients", type=int, default=100_000)
    parser.add_argument("--template-bytes", type=int, default=20_480)
    parser.add_argument("--connections-out", type=int, default=20)
    parser.add_argument("--pipeline-depth", type=int, default=1)
    parser.add_argument("--idle-seconds", type=int, default=10)
    parser.add_argument("--shards", type=int, default=0)
    options = bench.arguments(parser)
    bench.need(options.bin, "staffetta")
    html, body = template(options.template_bytes), recipients(options.recipients)
    runs = []
    for number in range(options.runs):
        runs.append(one_run(options, html, body))
        print(f"run {number + 1}: {json.dumps(runs[-1])}", flush=True)
    parameters = {
        name: getattr(options, name)
        for name in ("recipients", "template_bytes", "connections_out", "pipeline_depth", "idle_seconds", "shards", "cpus")
    }
    bench.record("campaign", options, parameters, runs)


if __name__ == "__main__":
    main()
