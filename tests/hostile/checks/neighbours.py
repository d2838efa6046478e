"""While forty hostile receivers are delivered to, a good one gets its mail as fast as without them, to 5 percent."""

import statistics
import time

from harness.engine import BASE, Engine, route
from harness.receivers import Sink
from rig.letters import ONCE, Letter, submit
from rig.sinks import Hostile, ports

# Each hostile receiver does one of these to all its mail.
HOSTILE = ["tarpit=1", "slow=150", "drop=rcpt", "drop=mail", "rst=dot", "drop=conn", "rcpt=450", "dot=451", "conn=421", "ehlo=421", "giant=5000000",
           "endless", "badcode", "closedot", "stopread=rcpt", "stopread=dot", "stopread=conn", "tls=hang", "tls=garbage", "many=9000"]
PROFILES = HOSTILE + [f"{profile},chunking" for profile in HOSTILE]
LETTERS_EACH = 25
GOOD = 1000
# Long enough for all letters to be handed over before the first one leaves.
LEAD = 8.0
# The good receiver waits this long before its 250: the rate follows from waiting, not from the processors, which the hostile
# receiver's own work would take from everybody.
DOT_DELAY = 0.05
CONNECTIONS = 8
ALLOWED = 0.05
SETTINGS = """
[class.personal]
retry = ["1s"]
expiry = "30s"
[provider.routed]
connections = {connections}
pipeline_depth = 1
[deliver]
connect_timeout = "5s"
stop_grace = "1s"
"""


def run(stage):
    alone, beside = [], []
    for number in range(stage.options.rounds):
        for hostile, rates in ((False, alone), (True, beside)) if number % 2 else ((True, beside), (False, alone)):
            rates.append(one(stage, f"{number}-{'hostile' if hostile else 'alone'}", hostile))
            stage.say(f"{'beside hostile ones' if hostile else 'alone':20} {rates[-1]:8.1f} messages/s")
    slowed = 1 - statistics.median(beside) / statistics.median(alone)
    stage.fact("a good receiver is not slowed by more than 5 percent", slowed <= ALLOWED, slowed_percent=round(100 * slowed, 2),
               alone=round(statistics.median(alone), 1), beside=round(statistics.median(beside), 1), rounds=stage.options.rounds,
               hostile=len(PROFILES), all_alone=alone, all_beside=beside)


def one(stage, name, with_hostile):
    """Messages a second that the good receiver takes, by its own clock."""
    good = Sink(stage, "--dot-delay", str(DOT_DELAY), name=f"good-{name}")
    numbers = ports(len(PROFILES))
    sink = Hostile(stage, dict(zip(numbers, PROFILES)), f"hostile-{name}")
    routes = "".join(route(port, f"c{number}.test", "opportunistic") for number, port in enumerate(numbers))
    engine = Engine(stage, SETTINGS.format(connections=CONNECTIONS) + route(good.port, "good.test") + route(good.port, "back.test") + routes, name=f"engine-{name}",
                    base=BASE.replace('"64MiB"', '"32MiB"'))
    engine.start()
    start = time.time() + LEAD
    if with_hostile:
        submit(engine, [Letter("ann@back.test", {f"v{n}@c{number}.test": None}, hurry="personal") for number in range(len(PROFILES))
                        for n in range(LETTERS_EACH)], start - 1)
    submit(engine, [Letter("ann@back.test", {f"v{number}@good.test": ONCE}) for number in range(GOOD)], start)
    if time.time() > start - 1:
        stage.fact("all letters were handed over before the first one left", False, late_seconds=round(time.time() - start + 1, 1))
    stage.wait("the good receiver's mail", lambda: len(good.read().times) >= GOOD, 120, every=0.25)
    times = sorted(at for address, at in good.book.times.items() if address.endswith("@good.test"))
    engine.stop()
    sink.process.terminate()
    sink.process.wait()
    good.process.terminate()
    good.process.wait()
    return (len(times) - 1) / (times[-1] - times[0])
