"""The scriptable hostile receiver (`--tools`) as a process: many ports, each with a behaviour, and what it wrote down."""

import collections
import json
import pathlib
import subprocess
import sys

from harness.engine import read_line
from harness.stage import Failed, Skipped, free_port

# What the program calls a violation and is none: the bytes of a chunk stand right behind their BDAT (RFC 3030 section 2).
BDAT_IS_FOLLOWED = ("pipelined-after-BDAT", "BDAT")


def program(options, name="hostile_sink.py"):
    """The path of one of the tools."""
    if not options.tools:
        raise Skipped("give --tools DIR with hostile_sink.py")
    path = pathlib.Path(options.tools) / name
    if not path.is_file():
        raise Skipped(f"{path} is not there")
    return path


def ports(count, taken=()):
    """So many different free ports."""
    found = set()
    while len(found) < count:
        port = free_port()
        if port not in taken:
            found.add(port)
    return sorted(found)


class Hostile:
    """One process of the receiver. `profiles`: a behaviour for each port, as its documentation writes them."""

    def __init__(self, stage, profiles, name="hostile", hold=900, host="127.0.0.1", bodies=False):
        self.stage, self.out = stage, stage.path(name)
        tool = program(stage.options)
        command = [sys.executable, tool, "--out", self.out, "--hold", hold, "--seed", "1", "--gencerts"]
        command += ["--bodies"] if bodies else []
        for port, profile in profiles.items():
            command += ["--listen", f"{host}:{port}={profile}"]
        log = open(stage.path(f"{name}.log"), "wb")
        self.process = stage.spawn(command, stdout=subprocess.PIPE, stderr=log)
        log.close()
        # The line with all ports is long: its beginning is enough, and the rest is in the pipe.
        line = read_line(self.process, 60)
        if not line.startswith("ready"):
            raise Failed(f"the hostile receiver did not start: {stage.path(f'{name}.log').read_text()[-400:]}")

    def accepted(self):
        """Every message that it kept, in order; `file` has it, with `bodies`."""
        return [{**message, "file": self.out / f"bodies/{message['seq']:06}.eml"} for message in lines(self.out / "accepted.jsonl")]

    def authority(self):
        """The file with the certificate that the good ones are signed by."""
        return self.out / "certs/ca.crt"

    def events(self):
        return lines(self.out / "events.jsonl")

    def violations(self):
        """Breaches of the protocol by the client."""
        for event in self.events():
            if event["kind"] != "violation" or event["what"] == BDAT_IS_FOLLOWED[0]:
                continue
            if event.get("verb") != BDAT_IS_FOLLOWED[1]:
                yield event


def lines(path):
    if not path.exists():
        return []
    text = path.read_bytes()
    whole = text[:text.rfind(b"\n") + 1]
    return [json.loads(line) for line in whole.splitlines() if line]


def kept_by_recipient(sinks):
    """How often each recipient's mail was kept, and what was kept."""
    kept = collections.defaultdict(list)
    for sink in sinks:
        for message in sink.accepted():
            for recipient, _ in message["rcpts"]:
                kept[recipient].append(message)
    return kept
