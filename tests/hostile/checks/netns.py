"""A closed network namespace with public-looking addresses: DNS, six receivers on the real port 25, and where each letter ends."""

import ctypes
import json
import os
import pathlib
import subprocess
import sys
import time

from harness.engine import BASE, Engine, balances
from harness.stage import Failed, Skipped, need
from rig.letters import BOUNCED, DELIVERED, WAITS, Letter, expect, problems, read_stories, submit
from rig.processes import at_rest, wait_for_sockets
from rig.sinks import lines, program

NAME = "mtalab"
CLONE_NEWNET = 0x40000000
# 198.18.0.0/15 is for benchmarks (RFC 2544): DNS may name it only because this says so.
SETTINGS = """
[dns]
servers = ["{resolver}"]
[deliver]
port = 25
allow_private = ["198.18.0.0/15"]
connect_timeout = "3s"
idle_timeout = "2s"
[class.transactional]
retry = ["2s", "4s", "8s"]
expiry = "40s"
"""
ONCE, GONE, STAYS = expect(DELIVERED), expect(BOUNCED), expect(WAITS)
# The receivers of the lab by the last number of their address, and what becomes of a letter to each.
RECEIVERS = {"accept": (2, ONCE), "tarpit": (3, ONCE), "greylist": (4, expect(DELIVERED, classes={"greylist"}, deferred=1)), "tlsgood": (5, ONCE),
             "tlsexpired": (6, ONCE), "lenient": (7, ONCE)}
ENCRYPTED = {"tlsgood", "tlsexpired"}
# Names that the lab's DNS answers by their first label. Loopback and the like are never dialled, whatever DNS says.
NAMES = {"ok": ONCE, "amx": ONCE, "mxcname": ONCE, "chain3": ONCE, "tc": ONCE, "ttl0": ONCE, "wrongid": ONCE, "wrongq": ONCE, "huge500": ONCE, "poison": ONCE,
         "nullmx": GONE, "nxdomain": GONE, "nomx": GONE, "mxloop": GONE, "mxpriv": GONE, "mxmeta": GONE, "mxzero": GONE, "mxv6loop": GONE,
         "servfail": STAYS, "refused": STAYS, "drop": STAYS, "garbage": STAYS, "multi": GONE,
         # With some versions of dnslib the lab's DNS cannot write this answer and gives none.
         "mxv4map": expect(BOUNCED, WAITS)}
EACH = 5


def run(stage):
    lab = Lab(stage)
    zone = stage.write("zone.json", json.dumps(zone_of()))
    tool = program(stage.options, "hostile_dns.py")
    log = open(stage.path("zone.log"), "wb")
    stage.spawn([sys.executable, tool, "--listen", "198.18.0.1:53", "--mxhost", "198.18.0.2", "--zone", zone, "--out", stage.path("zone")], stdout=log, stderr=log)
    log.close()
    time.sleep(1)
    part(stage, lab, "the six receivers", "198.18.0.1", {f"{name}.lab.test": wanted for name, (_, wanted) in RECEIVERS.items()})
    part(stage, lab, "names", "198.18.0.53", {f"{name}.test": wanted for name, wanted in NAMES.items()})
    broken = [event for event in lab.events() if event["kind"] == "violation" and event["what"] != "pipelined-after-BDAT"]
    stage.fact("no receiver saw a breach of the protocol", not broken, first=broken[:3])


def part(stage, lab, what, resolver, domains):
    """One engine that asks this resolver, and letters to these domains."""
    engine = Engine(stage, SETTINGS.format(resolver=resolver), name=f"engine-{resolver}", base=BASE.replace('"64MiB"', '"32MiB"'))
    engine.start()
    opened = at_rest(engine.process.pid)
    letters = [Letter("", {f"v{number}@{domain}": wanted}, body=b".\r\n..\r\nGood morning.\r\n") for domain, wanted in domains.items() for number in range(EACH)]
    began = time.time()
    submit(engine, letters, began)
    until = began + 75
    while read_stories(engine, letters) and time.time() < until:
        time.sleep(1)
    kept = lab.kept()
    for domain in domains:
        mine = [letter for letter in letters if next(iter(letter.to)).endswith(f"@{domain}")]
        found = [sentence for letter in mine for sentence in problems(letter, kept)]
        if domain.split(".")[0] in ENCRYPTED:
            found += [f"{address} came in clear" for letter in mine for address in letter.to for one in kept.get(address, []) if not one["tls"]]
        stage.fact(domain, not found, told=last_words(mine), **({"first": found[:3]} if found else {}))
    ledger = engine.ledger()
    stage.fact(f"{what}: the ledger balances", balances(ledger), **ledger)
    left = wait_for_sockets(engine.process.pid, opened["socket"], 20)
    stage.fact(f"{what}: every connection is closed at the end", left["socket"] <= opened["socket"], at_rest=dict(opened),
               left=dict(left))
    status, _ = engine.stop()
    stage.fact(f"{what}: SIGTERM ends it with status 0", status == 0, status=status)


def last_words(letters):
    """How the first of them ended, in the engine's words."""
    for letter in letters:
        for one in letter.told.values():
            if one["attempts"]:
                last = one["attempts"][-1]
                return f"{one['state']} {last['code']} {last['reply'][:90]} {last['tls']}".strip()
            return one["state"]
    return "nothing"


def zone_of():
    zone = {}
    for name, (last, _) in RECEIVERS.items():
        zone[f"{name}.lab.test."] = {"MX": [f"10 mx.{name}.lab.test."]}
        zone[f"mx.{name}.lab.test."] = {"A": [f"198.18.0.{last}"]}
    return zone


class Lab:
    """The namespace, from here to the end of the check; this process and what it starts are inside."""

    def __init__(self, stage):
        if os.geteuid() != 0:
            raise Skipped("network namespaces need root")
        need("ip")
        self.script, self.folder = program(stage.options, "netns_lab.sh"), stage.path("lab")
        if pathlib.Path(f"/run/netns/{NAME}").exists():
            raise Skipped(f"there is a namespace `{NAME}` already: `ip netns del {NAME}` if it is left over")
        self.environment = {**os.environ, "LAB_DIR": str(self.folder), "PYTHON": sys.executable}
        stage.closers.append(self.down)
        self.outside = os.open("/proc/self/ns/net", os.O_RDONLY)
        # It runs its programs behind itself; a pipe as their output would never end.
        done = subprocess.run(["bash", self.script, "up"], env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, timeout=60)
        if done.returncode or not pathlib.Path(f"/run/netns/{NAME}").exists():
            raise Failed("the lab could not be set up")
        inside = os.open(f"/run/netns/{NAME}", os.O_RDONLY)
        enter(inside)
        os.close(inside)

    def down(self):
        enter(self.outside)
        subprocess.run(["bash", self.script, "down"], env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, timeout=60)

    def sinks(self):
        return sorted(path for path in self.folder.glob("sink*") if path.is_dir())

    def events(self):
        return [event for sink in self.sinks() for event in lines(sink / "events.jsonl")]

    def kept(self):
        kept = {}
        for sink in self.sinks():
            for message in lines(sink / "accepted.jsonl"):
                for recipient, _ in message["rcpts"]:
                    kept.setdefault(recipient, []).append(message)
        return kept


def enter(namespace):
    """This thread, its later threads and its children."""
    if ctypes.CDLL(None, use_errno=True).setns(namespace, CLONE_NEWNET):
        raise Skipped(f"setns: {os.strerror(ctypes.get_errno())}")
