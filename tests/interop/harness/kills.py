"""kill -9, start again, and what that did: repeated deliveries belong to the kill before which they came first."""

import time

from .engine import balances


class Kills:
    """Kills an engine that sends to a recording sink."""

    def __init__(self, stage, engine, sink):
        self.stage, self.engine, self.sink = stage, engine, sink
        self.moments, self.ends = [], []

    def kill(self, when, twice=False):
        """Kills it, lets the receiver take what was on its way, and starts it again; with `twice`, it is killed once
        more while it starts."""
        arrived = self._kill()
        if twice:
            self.engine.launch()
            time.sleep(0.05)
            # A quick start is over by then, and mail is on the wire again.
            self._kill()
            when += ", and again while it started"
        seconds = self.engine.start()
        ledger = self.engine.ledger()
        self.stage.fact(f"killed {when}, it starts and balances", balances(ledger), start_seconds=round(seconds, 2), arrived=arrived,
                        **ledger)

    def _kill(self):
        self.moments.append(time.time())
        self.engine.kill()
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
            oldest[kill] = max(oldest[kill], self.moments[kill] - first)
        connections = [book.open_at(moment) for moment in self.moments]
        bounds = [depth * count for count in connections]
        what = "the connections" if depth == 1 else f"the connections by {depth} messages"
        self.stage.fact(f"repeated deliveries are at most {what}", all(map(int.__le__, repeated, bounds)),
                        repeated_by_each_kill=repeated, connections_then=connections, milliseconds_before=[round(1000 * age) for age in oldest])
