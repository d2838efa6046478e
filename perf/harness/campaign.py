"""A campaign of the engine: template and list by HTTP over the control socket, waiting; then started and delivered."""

import time

from . import group, stage
from .meter import Meter

FIELDS = ("first_name", "city", "code", "product", "price")
GROWTH_MAX = 1.5
"""A rendered message is at most so many times its template: transfer encoding."""
HEADERS_MAX = 4096


def template(size):
    """About `size` bytes of HTML with five merge fields in it."""
    row = "<tr><td style=\"padding:4px 8px\">A line of the newsletter about something worth reading</td></tr>\n"
    merged = "".join(f"<p>{name}: {{{{ {name} }}}}</p>\n" for name in FIELDS)
    head = f"<!doctype html><html><head><title>News</title></head><body>{merged}<table>\n"
    tail = "</table></body></html>\n"
    return head + row * max(0, (size - len(head) - len(tail)) // len(row)) + tail


def recipients(count, destinations):
    """The list, as CSV."""
    lines = ["email," + ",".join(FIELDS)]
    for n in range(count):
        lines.append(f"user{n:07d}@sink{n % destinations}.test,Name{n % 1000},City {n % 300},{n:08x},Product {n % 40},{n % 90}.90")
    return ("\n".join(lines) + "\n").encode()


def send(run):
    """From the start of the campaign to the last message in the sink. Taking the list is in the processor time of a message."""
    scenario, control = run.scenario, run.sender.control
    html, body = template(scenario.message_bytes), recipients(run.messages, scenario.destinations)
    identifier = control.post("/v1/campaigns", {
        "name": "perf", "from": "news@perf.test", "subject": "News for {{ first_name }}", "html": html,
        "list_unsubscribe_url": "https://perf.test/u"})["id"]
    before = group.memory(run.sender.group.pids())
    with Meter(run) as meter:
        begun = time.monotonic()
        answer = control.request("POST", f"/v1/campaigns/{identifier}/recipients", body, "text/csv")
        submitted = time.monotonic() - begun
        submitting = meter.read(run.messages)
    if answer["accepted"] != run.messages:
        raise stage.Void(f"the list was not taken: {answer}")
    waiting = group.memory(run.sender.group.pids())
    spool = run.place.answer(run.place.tool("staffetta", "spool", "verify", run.place.dir / "data" / "spool", "--json"))
    with Meter(run) as meter:
        begun = time.time()
        control.post(f"/v1/campaigns/{identifier}/start")
        run.sink.wait(run.messages, scenario.patience_s)
        run.sender.settle(run.messages)
        figures = meter.read(run.messages)
    counts = run.arrived(run.messages, len(html), int(len(html) * GROWTH_MAX) + HEADERS_MAX)
    figures["cpu_us_per_msg"] = round(figures["cpu_us_per_msg"] + submitting["cpu_us_per_msg"], 2)
    return {
        "msgs_per_s": round(run.messages / (counts["last_at_ms"] / 1000 - begun), 1), **figures,
        "submit_per_s": round(run.messages / submitted, 1),
        "submit_cpu_us_per_msg": submitting["cpu_us_per_msg"],
        "spool_bytes_per_recipient": round(spool["bytes"] / run.messages, 1),
        "anon_bytes_per_waiting": round((waiting["anonymous"] - before["anonymous"]) / run.messages, 1),
        "connections_out": counts["connections_peak"], "connections_made": counts["connections"],
    }
