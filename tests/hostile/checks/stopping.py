"""SIGTERM while servers hold every connection at every stage: the engine ends in time, and after its start nothing is missing."""

import time

from harness.engine import BASE, Engine, balances, route
from rig.letters import Letter, expect, read_stories, submit
from rig.sinks import Hostile, ports

HELD = ["stopread=conn", "stopread=ehlo", "stopread=mail", "stopread=rcpt", "stopread=data", "stopread=dot", "stopread=starttls,tls=good",
        "tls=hang", "tarpit=60", "slow=5000", "banner=300", "nocrlf"]
# DATA is not said where there is CHUNKING.
PROFILES = HELD + [f"{profile},chunking" for profile in HELD if profile != "stopread=data"] + [f"{profile},nopipe" for profile in HELD]
GRACE = 2
SETTINGS = f"""
[provider.routed]
connections = 2
pipeline_depth = 4
[deliver]
stop_grace = "{GRACE}s"
connect_timeout = "3s"
"""


def run(stage):
    numbers = ports(len(PROFILES))
    sink = Hostile(stage, dict(zip(numbers, PROFILES)))
    routes = "".join(route(port, f"c{number}.test", "opportunistic") for number, port in enumerate(numbers))
    engine = Engine(stage, SETTINGS + routes, base=BASE.replace('"64MiB"', '"32MiB"'))
    engine.start()
    letters = [Letter("ann@back.test", {f"v{n}@c{number}.test": expect("waits")}) for number in range(len(PROFILES)) for n in range(6)]
    submit(engine, letters, time.time() + 1)
    time.sleep(4)
    before = engine.ledger()
    stage.fact("nothing has left", before["queued"] == len(letters), **before)
    status, seconds = engine.stop()
    stage.fact("SIGTERM ends it with status 0 within its grace and 5 s", status == 0 and seconds < GRACE + 5, status=status, seconds=round(seconds, 1),
               grace=GRACE)
    engine.start()
    after = engine.ledger()
    stage.fact("after the next start nothing is missing, and the ledger balances", balances(after) and after["queued"] == len(letters), **after)
    read_stories(engine, letters)
    stories = [one for letter in letters for one in letter.told.values()]
    kept = [message for message in sink.accepted()]
    stage.fact("each recipient still has its story", len(stories) == len(letters) and all(one["state"] == "queued" for one in stories),
               stories=len(stories), kept_by_receivers=len(kept))
    time.sleep(3)
    engine.process.terminate()
    time.sleep(0.3)
    began = time.monotonic()
    engine.process.terminate()
    status = engine.process.wait(30)
    seconds = time.monotonic() - began
    stage.fact("a second SIGTERM ends it at once", seconds < 1.5, status=status, seconds=round(seconds, 2))
    engine.start()
    last = engine.ledger()
    stage.fact("and loses nothing either", balances(last) and last["queued"] == len(letters), **last)
