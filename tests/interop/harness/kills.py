"""kill -9, start again, and what that did: repeated deliveries belong to the kill before which they came first."""

import time

from .engine import balances


class Kills:
    """Kills an engine that sends to a recording sink."""

    def __init__(self, stage, engine, sink):
        self.stage, self.engine, self.sink = stage, engine, sink
        # From when to when the engine was being killed, and when all that was on its way had arrived.
        self.killings, self.ends = [], []

    def kill(self, when, again=None):
        """Kills it, lets the receiver take what was on its way, and starts it again; it is killed once more when it has
        run for `again` seconds: while it starts, or opens its first connections."""
        arrived = self._kill()
        if again is not None:
            self.engine.launch()
            time.sleep(again)
            # A quick start is over by then, and mail is on the wire again.
            self._kill()
            when += f", and again {again:.3f} s after its start"
        seconds = self.engine.start()
        ledger = self.engine.ledger()
        self.stage.fact(f"killed {when}, it starts and balances", balances(ledger), start_seconds=round(seconds, 2), arrived=arrived,
                        **ledger)

    def _kill(self):
        began = time.time()
        self.engine.kill()
        self.killings.append((began, time.time()))
        arrived = len(self.sink.settled().arrivals)
        self.ends.append(time.time())
        return arrived

    def judge(self, depth=1):
        """Repeated deliveries are at most the messages on the wire at each kill: `depth` on each open connection."""
        book = self.sink.settled()
        repeated = [0] * len(self.ends)
        oldest = [0.0] * len(self.ends)
        for recipient in book.repeats:
            first = book.times[recipient]
            kill = next((n for n, end in enumerate(self.ends) if first <= end), None)
            if kill is None:
                return self.stage.fact("nothing is repeated without a kill", False, recipient=recipient)
            repeated[kill] += 1
            oldest[kill] = max(oldest[kill], self.killings[kill][0] - first)
        # On a busy machine it lives on for some milliseconds, and opens more connections.
        connections = [book.open_during(*killing) for killing in self.killings]
        bounds = [depth * count for count in connections]
        what = "the connections" if depth == 1 else f"the connections by {depth} messages"
        self.stage.fact(f"repeated deliveries are at most {what}", all(map(int.__le__, repeated, bounds)),
                        repeated_by_each_kill=repeated, connections_then=connections, milliseconds_before=[round(1000 * age) for age in oldest])
