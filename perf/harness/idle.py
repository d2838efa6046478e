"""An engine with nothing to do: recipients that are due hours later are handed over, and then its processor time is watched."""

import base64
import concurrent.futures
import datetime
import time

from . import group, stage
from .meter import Meter

WATCH_S = 60
"""How long it is watched."""
QUIET_S = 60
"""How long it may take at most until it has done what follows from taking them (event store, start of reclaim)."""
QUIET_SHARE = 0.02
"""Part of a processor in a second under which that is over. What is above it after `QUIET_S` is watched as it is."""
RECIPIENTS_MAX = 1000
"""Of a message."""
HANDS = 8
"""Requests at the same time."""
FIRST_DUE_S, DUE_OVER_S = 2 * 3600, 20 * 3600
"""The first are due so long after their message is handed over, and the others one after the other."""


def idle(run):
    """Percent of a processor, wakes a second and memory a recipient, with all recipients on the timing wheel."""
    before = group.memory(run.sender.group.pids())
    begun = time.monotonic()
    hand_over(run)
    taken_s = time.monotonic() - begun
    wait_quiet(run)
    waiting = group.memory(run.sender.group.pids())
    with Meter(run) as meter:
        begun, wakes = time.monotonic(), group.wakes(run.sender.group.pids())
        time.sleep(WATCH_S)
        watched_s = time.monotonic() - begun
        wakes = group.wakes(run.sender.group.pids()) - wakes
        figures = meter.read(watched_s)
    queued, sent = run.sender.queued(), run.sink.counts()["messages"]
    if queued != run.messages or sent:
        raise stage.Void(f"{queued} recipients wait instead of {run.messages}, and {sent} were sent")
    return {
        # Microseconds of processor time for each second.
        "idle_cpu_percent": round(figures["cpu_us_per_msg"] / 1e4, 3), "idle_wakes_per_s": round(wakes / watched_s, 1), "idle_s": round(watched_s, 1),
        "anon_bytes_per_waiting": round((waiting["anonymous"] - before["anonymous"]) / run.messages, 1),
        "taken_per_s": round(run.messages / taken_s, 1),
        **{name: figures[name] for name in ("rss_mb", "anon_mb", "other_cpu_share", "processes")},
    }


def hand_over(run):
    """One message for a thousand recipients at a time, each message due a little after the one before it."""
    text = base64.b64encode(b"From: sender@perf.test\r\nTo: list@sink.test\r\nSubject: Later\r\n\r\nLater.\r\n").decode()
    now = datetime.datetime.now(datetime.timezone.utc)

    def one(first):
        due = now + datetime.timedelta(seconds=FIRST_DUE_S + DUE_OVER_S * first / run.messages)
        to = [f"user{n:08d}@sink{n % run.scenario.destinations}.test" for n in range(first, min(first + RECIPIENTS_MAX, run.messages))]
        run.sender.control.post("/v1/messages", {
            "from": "sender@perf.test", "to": to, "raw_base64": text, "class": "bulk", "not_before": due.isoformat(timespec="milliseconds")})

    with concurrent.futures.ThreadPoolExecutor(HANDS) as hands:
        for _ in hands.map(one, range(0, run.messages, RECIPIENTS_MAX)):
            pass


def wait_quiet(run):
    until = time.monotonic() + QUIET_S
    while time.monotonic() < until:
        before = run.sender.group.cpu_seconds()
        time.sleep(1)
        if run.sender.group.cpu_seconds() - before < QUIET_SHARE:
            return
