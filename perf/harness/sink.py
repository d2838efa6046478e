"""The receiver: `staffetta sink`, asked for its counts while it takes mail."""

import json
import signal
import subprocess
import time

from . import group, stage
from .place import stop


class Sink:
    """Takes everything, keeps nothing, times what is stamped."""

    def __init__(self, place, scenario):
        # Every address of 127/8 is another receiver.
        arguments = ["sink", "--listen", "127.0.0.1:0" if scenario.sites == 1 else "0.0.0.0:0", "--json", "--quiet", "--timed"]
        if scenario.sink_latency_ms:
            arguments += ["--latency", f"{scenario.sink_latency_ms}ms"]
        if scenario.tls:
            certificate, key = place.certificate()
            arguments += ["--cert", certificate, "--key", key]
        self.process = place.start(place.tool("staffetta", *arguments), stdout=subprocess.PIPE)
        line = self.process.stdout.readline()
        if not line.startswith("ready "):
            raise stage.Void(f"the sink did not start: {line}{place.log()}")
        self.last, self.is_frozen = None, False
        self.port = int(line.split()[1].rsplit(":", 1)[1])

    def counts(self):
        """What has come so far."""
        if not self.is_frozen:
            self.process.send_signal(signal.SIGUSR1)
            self.last = json.loads(self.process.stdout.readline())
        return self.last

    def freeze(self):
        """Reads nothing more until `thaw`."""
        self.counts()
        self.process.send_signal(signal.SIGSTOP)
        self.is_frozen = True

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)
        self.is_frozen = False

    def cpu_seconds(self):
        return group.process_seconds(self.process.pid)

    def wait_first(self, messages, seconds):
        """Until more than `messages` have come: the counts then."""
        return self._wait(lambda counts: counts["messages"] > messages, f"more than {messages}", seconds, 0.01)

    def wait(self, messages, seconds):
        """Until so many have come in all: the counts then."""
        return self._wait(lambda counts: counts["messages"] >= messages, str(messages), seconds, 0.1)

    def _wait(self, done, wanted, seconds, pause):
        until = time.monotonic() + seconds
        while True:
            counts = self.counts()
            if done(counts):
                return counts
            if time.monotonic() > until:
                raise stage.Void(f"{counts['messages']} messages came to the sink in {seconds:.0f} s instead of {wanted}")
            time.sleep(pause)

    def stop(self):
        """The final counts."""
        return json.loads(stop(self.process).splitlines()[-1])
