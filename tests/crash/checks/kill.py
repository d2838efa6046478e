"""kill -9 at random moments under SMTP and HTTP load: nothing acknowledged is lost, at most the final dots in flight come twice."""

import random
import time

from harness.kills import Kills
from rig.books import Scene
from rig.load import Load

CONNECTIONS = 20
# Late answers to the final dot, so that a kill finds many messages on their way.
LATE = 0.004
# Seconds for which a starting engine lives that is killed again: it opens its connections in the second half.
STARTING = (0.04, 0.16)


def run(stage):
    for depth in (1, 8):
        stage.say(f"messages at a time on a connection: {depth}")
        load(stage, depth)


def load(stage, depth):
    chance = random.Random(f"{stage.options.seed} kill {depth}")
    limits = (f"\n[provider.routed]\nconnections = {CONNECTIONS}\nmessages_per_connection = 1000000\npipeline_depth = {depth}\n")
    scene = Scene(stage, name=f"engine-{depth}", late=LATE, extra=limits)
    scene.engine.start()
    load = Load(scene.engine, chance.randrange(1 << 32), domains=("open.test", "open.test", "held.test"))
    kills = Kills(stage, scene.engine, scene.sink)
    rounds = stage.options.rounds
    for n in range(rounds):
        pause = chance.uniform(0.3, 2.5)
        time.sleep(pause)
        again = chance.uniform(*STARTING) if n % 2 == 1 or n == rounds - 1 else None
        kills.kill(f"after {pause:.3f} s, at {len(load.acknowledged):,} acknowledged messages", again)
    time.sleep(0.5)
    load.stop()
    ledger = scene.drain()
    scene.judge(load)
    kills.judge(depth)
    scene.balances(ledger, load)
    scene.engine.stop()
    scene.close()
