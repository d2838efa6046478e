#!/usr/bin/env python3
"""The engine against a DNS that lies, is silent, floods and fails, and against servers whose TLS is not what it should
be: each message must end as its domain deserves.

    tests/hostile/dns.py --tools DIR [--binary target/release/staffetta] [NAME...]

DIR holds hostile_dns.py and hostile_sink.py. Everything runs on loopback. Needs Python with dnslib and cryptography;
`signed` needs nsd and ldns-signzone too. Parts:
    answers   every behaviour of hostile_dns.py, and DANE by the AD bit of the resolver
    flood     a good domain among thousands whose name servers are dead
    outage    the resolver goes away: known domains still get their mail, new ones wait
    signed    DNSSEC validated by the engine over zones of NSD: DANE-EE, DANE-TA, wrong, unusable, bogus, unsigned
    levels    every level of `tls` against every kind of certificate and of broken TLS
Exit status: 0 all passed, 1 something did not."""

import argparse
import datetime
import hashlib
import http.client
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

PARTS = ["answers", "flood", "outage", "signed", "levels"]
SINK = "127.0.0.2"

# First label of the domain: what becomes of its mail, and words that must stand in the last reply or reason.
EXPECTED = {
    "ok": ("delivered", ""),
    "amx": ("delivered", ""),
    "multi": ("delivered", ""),
    "slow5": ("delivered", ""),
    "tc": ("delivered", ""),
    "wrongid": ("delivered", ""),
    "wrongq": ("delivered", ""),
    "chain20": ("delivered", ""),
    "mxcname": ("delivered", ""),
    "huge500": ("delivered", ""),
    "hugetxt": ("delivered", ""),
    "ttl0": ("delivered", ""),
    "poison": ("delivered", ""),
    "victim": ("delivered", ""),
    "rebind": ("delivered", ""),
    "nullmx": ("bounced", "null MX"),
    "nomx": ("bounced", "no MX, A or AAAA"),
    "nxdomain": ("bounced", "NXDOMAIN"),
    "mxip": ("bounced", "no mail server"),
    "badname": ("bounced", "no mail server"),
    "mxloop": ("bounced", "private or not usable"),
    "mxpriv": ("bounced", "private or not usable"),
    "mxmeta": ("bounced", "private or not usable"),
    "mxzero": ("bounced", "private or not usable"),
    "mxself": ("bounced", "private or not usable"),
    "mxv6loop": ("bounced", "private or not usable"),
    "servfail": ("deferred", "SERVFAIL"),
    "refused": ("deferred", "REFUSED"),
    "drop": ("deferred", "no answer in time"),
    "tcdrop": ("deferred", ""),
    "cnameloop": ("deferred", "aliases without an end"),
    "garbage": ("deferred", ""),
    "compress": ("deferred", ""),
    "dane": ("delivered", "(DANE)"),
    "danebad": ("waits", "TLS handshake"),
    "daneservfail": ("deferred", "DANE is not known"),
}

LARGE = ["tc", "tcdrop", "huge500"]

SIGNED = {
    "ee.lab": ("delivered", "(DANE)"),
    "ta.lab": ("delivered", "(DANE)"),
    "alias.lab": ("delivered", "(DANE)"),
    "wrong.lab": ("waits", "TLS handshake"),
    "wrongname.lab": ("waits", "TLS handshake"),
    "pkix.lab": ("delivered", "(unverified)"),
    "plain.lab": ("delivered", "(unverified)"),
    "sub.unsigned.lab": ("delivered", "(unverified)"),
    "tlsabogus.lab": ("deferred", "DANE is not known"),
    "mxbogus.lab": ("deferred", "signatures are not good"),
}

# How the server speaks TLS (a profile of hostile_sink.py): what becomes of mail at each level of `tls`, and the outcome's
# words about TLS. A certificate that is looked at has to be for `localhost`.
CLEAR, WAITS = ("delivered", "clear"), ("waits", "")
LEVELS = {
    "good": [CLEAR] + 3 * [("delivered", "(verified)")],
    "inject": [CLEAR] + 3 * [("delivered", "(verified)")],
    **{name: [CLEAR, *2 * [("delivered", "(unverified)")], WAITS] for name in ("selfsigned", "expired", "wronghost")},
    **{name: [CLEAR, CLEAR, WAITS, WAITS] for name in ("none", "454", "garbage", "close", "hang", "tls10")},
}
NAMES = ["off", "opportunistic", "required", "verified"]

CONFIG = """\
[node]
name = "out.staffetta.example"
data_dir = "data"
shards = 2
[spool]
segment = "16MiB"
min_free = "16MiB"
[[smtp_listener]]
address = "127.0.0.1:{smtp}"
[http]
address = "127.0.0.1:{http}"
[dns]
servers = ["127.0.0.1:{dns}"]
{more_dns}
[deliver]
port = {port}
allow_private = ["127.0.0.2", "127.0.0.3", "127.0.0.4"]
mta_sts = false
reply_timeout = "4s"
{more_deliver}
stop_grace = "1s"
[class.transactional]
retry = ["2s", "1h"]
{routes}
"""


def free_port():
    """A port that is free for UDP and TCP."""
    while True:
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            tcp.bind(("127.0.0.1", 0))
            try:
                udp.bind(("127.0.0.1", tcp.getsockname()[1]))
            except OSError:
                continue
            return tcp.getsockname()[1]


class Stage:
    """Processes of this run, ended with it, and a directory."""

    def __init__(self, options):
        self.options, self.processes = options, []
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="staffetta-dns-"))
        self.port = free_port()

    def spawn(self, command, ready, name):
        log = open(self.folder / f"{name}.log", "wb")
        process = subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, stderr=log, cwd=self.folder)
        self.processes.append(process)
        if ready:
            line = process.stdout.readline().decode()
            if not line.startswith(ready):
                raise RuntimeError(f"{name} did not start: {line}{(self.folder / f'{name}.log').read_text()[-500:]}")
        return process

    def end(self):
        for process in self.processes:
            if process.poll() is None:
                process.terminate()
        for process in self.processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
        if self.options.keep:
            print(f"kept: {self.folder}")
        else:
            shutil.rmtree(self.folder, ignore_errors=True)

    def sink(self, names):
        """A receiver with TLS; gives the digests of its key and of its authority's, for TLSA records."""
        digests = certificates(self.folder / "sink/certs", names)
        hosts = [f"127.0.0.{last}" for last in (2, 3, 4)]
        listen = [word for host in hosts for word in ("--listen", f"{host}:{self.port}=tls=good")]
        tool = self.options.tools / "hostile_sink.py"
        self.spawn([sys.executable, tool, "--out", self.folder / "sink", *listen], None, "sink")
        wait_for(lambda: can_connect(SINK, self.port), 10, "the sink does not listen")
        return digests

    def dns(self, tlsa="00" * 32):
        port = free_port()
        tool = self.options.tools / "hostile_dns.py"
        command = [sys.executable, tool, "--listen", f"127.0.0.1:{port}", "--out", self.folder / "dns", "--mxhost", SINK,
                   "--tlsa", tlsa]
        return port, self.spawn(command, "ready", "dns")

    def engine(self, dns, **more):
        return Engine(self, dns, **more)

    def kept_for(self, domain):
        """Whether the sink has a message for a domain."""
        path = self.folder / "sink/accepted.jsonl"
        return path.exists() and f"@{domain}" in path.read_text()


class Engine:
    def __init__(self, stage, dns, more_dns="", more_deliver="", routes=""):
        self.stage, self.http = stage, free_port()
        config = stage.folder / "staffetta.toml"
        config.write_text(CONFIG.format(smtp=free_port(), http=self.http, dns=dns, port=stage.port, more_dns=more_dns,
                                        more_deliver=more_deliver, routes=routes))
        self.process = stage.spawn([stage.options.binary, "serve", "--config", config], "ready", "engine")

    def ask(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.http, timeout=30)
        connection.request(method, path, body and json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        if answer.status >= 300:
            raise RuntimeError(f"{method} {path}: {answer.status} {text.decode()}")
        return json.loads(text)

    def send(self, addresses):
        """Submits one message; gives the identifiers of its recipients by address."""
        message = {"from": "a@staffetta.example", "to": addresses, "subject": "s", "text": "t", "class": "transactional"}
        answer = self.ask("POST", "/v1/messages", message)
        return {recipient["address"]: recipient["id"] for recipient in answer["recipients"]}

    def state(self, identifier):
        """`(state, words)`: delivered, bounced, deferred (by an attempt), waits (for a path that rests), or queued."""
        recipient = self.ask("GET", f"/v1/messages/{identifier}")["recipients"][0]
        attempts = recipient.get("attempts", [])
        words = f"{attempts[-1]['reply']} {attempts[-1]['tls'] or 'clear'}" if attempts else ""
        if recipient["state"] != "queued":
            return recipient["state"], words
        if attempts:
            return "deferred", words
        why = json.dumps(recipient.get("waiting"))
        return ("waits", why) if "rests" in why else ("queued", why)


def wait_for(test, seconds, what):
    end = time.monotonic() + seconds
    while not test():
        if time.monotonic() > end:
            raise RuntimeError(what)
        time.sleep(0.05)


def can_connect(host, port):
    with socket.socket() as probe:
        return probe.connect_ex((host, port)) == 0


def certificates(folder, names):
    """An authority and a certificate of it for `names`, where hostile_sink.py looks for `good`."""
    folder.mkdir(parents=True)
    now, day = datetime.datetime.now(datetime.timezone.utc), datetime.timedelta(1)

    def make(subject, issuer, names, key, signer, is_authority):
        builder = (x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
                   .serial_number(x509.random_serial_number()).not_valid_before(now - day).not_valid_after(now + 30 * day)
                   .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True))
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), False)
        return builder.sign(signer, hashes.SHA256())

    def named(text):
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority = make(named("authority"), named("authority"), None, authority_key, authority_key, True)
    server = make(named("server"), named("authority"), names, key, authority_key, False)
    pem = serialization.Encoding.PEM
    (folder / "good.crt").write_bytes(server.public_bytes(pem) + authority.public_bytes(pem))
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "good.key").write_bytes(private)
    (folder / "ca.crt").write_bytes(authority.public_bytes(pem))

    def digest(key):
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return hashlib.sha256(key.public_key().public_bytes(serialization.Encoding.DER, form)).hexdigest()

    return digest(key), digest(authority_key)


def judge(engine, expected, domain_of, patience):
    """Sends one message to each domain and waits for what is expected of it; gives the complaints."""
    waiting = {}
    for label in expected:
        address = f"u@{domain_of(label)}"
        waiting[label] = engine.send([address])[address]
    end, seen, done = time.monotonic() + patience, {}, {}
    while waiting and time.monotonic() < end:
        for label, identifier in list(waiting.items()):
            seen[label] = engine.state(identifier)
            state, words = expected[label]
            # What has been tried may be on its way again, for which it waits.
            if seen[label][0] == state and words in seen[label][1]:
                done[label] = seen[label]
                del waiting[label]
        time.sleep(0.2)
    for label, (state, words) in sorted(done.items()):
        print(f"  {label:18} {state:10} {words[:110]}")
    faults = [f"{label}: {seen[label]} instead of {expected[label]}" for label in waiting]
    for label, (state, _) in expected.items():
        if state != "delivered" and engine.stage.kept_for(domain_of(label)):
            faults.append(f"{label}: the sink has its mail")
    if engine.process.poll() is not None:
        faults.append("the engine has ended")
    return faults


def answers(stage):
    """every behaviour of hostile_dns.py"""
    key, _ = stage.sink(["mx.sink.test"])
    port, _ = stage.dns(key)
    engine = stage.engine(port)
    # Answers that need TCP come last: once there is a connection, others may use it too, and then hostile_dns.py sends
    # its wrong answer by the same way as the right one, which cannot be mended.
    faults = []
    for is_large in (False, True):
        part = {label: end for label, end in EXPECTED.items() if (label in LARGE) == is_large}
        faults += judge(engine, part, lambda label: f"{label}.test", 90)
    return faults


def flood(stage):
    """a good domain among 3,000 dead ones"""
    stage.sink(["mx.sink.test"])
    port, _ = stage.dns()
    engine = stage.engine(port)
    for block in range(0, 3000, 500):
        engine.send([f"u@n{number}.drop.test" for number in range(block, block + 500)])
    began = time.monotonic()
    address = "u@ok.test"
    identifier = engine.send([address])[address]
    wait_for(lambda: engine.state(identifier)[0] == "delivered", 60, "the good domain did not get its mail within a minute")
    seconds = time.monotonic() - began
    print(f"  mail for a good domain was delivered {seconds:.1f} s after 3,000 for dead ones")
    return [f"{seconds:.1f} s are too long"] if seconds > 15 else []


def outage(stage):
    """the resolver goes away"""
    stage.sink(["mx.sink.test"])
    port, resolver = stage.dns()
    engine = stage.engine(port)
    first = engine.send(["a@ok.test"])["a@ok.test"]
    wait_for(lambda: engine.state(first)[0] == "delivered", 20, "the first message did not arrive")
    resolver.terminate()
    resolver.wait()
    time.sleep(62)
    second = engine.send(["b@ok.test"])["b@ok.test"]
    unknown = engine.send(["c@new.test"])["c@new.test"]
    began = time.monotonic()
    wait_for(lambda: engine.state(second)[0] == "delivered", 30, "a known domain did not get its mail")
    print(f"  a known domain got its mail {time.monotonic() - began:.1f} s after it was sent, its answer out of date")
    wait_for(lambda: engine.state(unknown)[0] == "deferred", 60, f"a new domain's mail: {engine.state(unknown)}")
    print(f"  a new domain's mail waits: {engine.state(unknown)[1]}")
    return []


ZONE = """\
$ORIGIN lab.
$TTL 60
@ SOA ns hostmaster 1 3600 600 86400 60
@ NS ns
ns A 127.0.0.1
{hosts}
alias MX 10 mxalias
mxalias CNAME mx.ee
_{port}._tcp.mx.ee TLSA 3 1 1 {key}
_{port}._tcp.mx.ta TLSA 2 1 1 {authority}
_{port}._tcp.mx.wrong TLSA 3 1 1 {zeros}
_{port}._tcp.mx.wrongname TLSA 2 1 1 {authority}
_{port}._tcp.mx.pkix TLSA 1 1 1 {zeros}
_tcp.mx.tlsabogus NS ns
_tcp.mx.tlsabogus DS 1 13 2 {zeros}
unsigned NS ns
"""

CHILD = """\
$TTL 60
@ SOA ns.lab. hostmaster.lab. 1 3600 600 86400 60
@ NS ns.lab.
{records}
"""

NSD = """\
server:
  ip-address: 127.0.0.1@{port}
  username: ""
  chroot: ""
  pidfile: "{folder}/nsd.pid"
  zonesdir: "{folder}"
  database: ""
  zonelistfile: "{folder}/zone.list"
  xfrdfile: "{folder}/xfrd.state"
remote-control:
  control-enable: no
{zones}"""


def zones_of(stage, key, authority):
    """Writes and signs the zones; gives the file with the trust anchor."""
    folder, names = stage.folder, ["ee", "ta", "wrong", "wrongname", "pkix", "plain", "tlsabogus", "mxbogus"]
    hosts = "\n".join(f"{name} MX 10 mx.{name}\nmx.{name} A {SINK}" for name in names)
    zone = ZONE.format(hosts=hosts, port=stage.port, key=key, authority=authority, zeros="00" * 32)
    (folder / "lab").write_text(zone)
    records = f"sub MX 10 mx\nmx A {SINK}\n_{stage.port}._tcp.mx TLSA 3 1 1 {'00' * 32}"
    (folder / "unsigned.lab").write_text(CHILD.format(records=records))
    records = f"_{stage.port} TLSA 3 1 1 {key}"
    (folder / "tlsabogus").write_text(CHILD.format(records=records))
    made = subprocess.run(["ldns-keygen", "-k", "-a", "ECDSAP256SHA256", "lab"], cwd=folder, check=True, capture_output=True)
    name = made.stdout.decode().strip()
    subprocess.run(["ldns-signzone", "-o", "lab", "lab", name], cwd=folder, check=True, capture_output=True)
    signed = (folder / "lab.signed").read_text().splitlines()
    for number, line in enumerate(signed):
        if line.startswith("mxbogus.lab.") and "RRSIG\tMX" in line:
            head, _, signature = line.rpartition(" ")
            signed[number] = f"{head} {signature[4:8]}{signature[:4]}{signature[8:]}"
    (folder / "lab.signed").write_text("\n".join(signed) + "\n")
    return folder / f"{name}.key"


def signed(stage):
    """DNSSEC validated by the engine over zones of NSD"""
    for tool in ("nsd", "ldns-signzone", "ldns-keygen"):
        if not shutil.which(tool):
            return [f"{tool} is not installed"]
    key, authority = stage.sink(["mx.ta.lab", "mx.elsewhere.lab"])
    anchor, port = zones_of(stage, key, authority), free_port()
    files = {"lab": "lab.signed", "unsigned.lab": "unsigned.lab", "_tcp.mx.tlsabogus.lab": "tlsabogus"}
    zones = "".join(f'zone:\n  name: "{name}"\n  zonefile: "{file}"\n' for name, file in files.items())
    config = stage.folder / "nsd.conf"
    config.write_text(NSD.format(port=port, folder=stage.folder, zones=zones))
    stage.spawn(["nsd", "-d", "-c", config], None, "nsd")
    wait_for(lambda: can_connect("127.0.0.1", port), 10, "nsd does not listen")
    engine = stage.engine(port, more_dns=f'dnssec = "validate"\ntrust_anchor_file = "{anchor}"')
    return judge(engine, SIGNED, lambda name: name, 60)


def levels(stage):
    """every level of `tls` against every kind of server"""
    tool, folder, ports = stage.options.tools / "hostile_sink.py", stage.folder / "sink", {}
    listen = []
    for profile in LEVELS:
        ports[profile] = free_port()
        listen += ["--listen", f"127.0.0.1:{ports[profile]}=" + ("" if profile == "none" else f"tls={profile}")]
    stage.spawn([sys.executable, tool, "--out", folder, "--gencerts", *listen], None, "sink")
    wait_for(lambda: can_connect("127.0.0.1", ports["good"]), 10, "the sink does not listen")
    expected, routes = {}, ""
    for profile, at_levels in LEVELS.items():
        for name, end in zip(NAMES, at_levels):
            expected[f"{profile}-{name}"] = end
            routes += (f'[[route]]\ndomain = "{profile}-{name}.test"\nhosts = ["127.0.0.1:{ports[profile]}"]\n'
                       f'tls = "{name}"\ntls_name = "localhost"\n')
    engine = stage.engine(free_port(), more_deliver=f'ca_file = "{folder}/certs/ca.crt"', routes=routes)
    return judge(engine, expected, lambda label: f"{label}.test", 60)


def main():
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("--tools", required=True, type=pathlib.Path)
    root = pathlib.Path(__file__).resolve().parents[2]
    reader.add_argument("--binary", default=str(root / "target/release/staffetta"))
    reader.add_argument("--keep", action="store_true", help="keep the temporary directories")
    reader.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(PARTS)} [all]")
    options = reader.parse_args()
    options.binary, failed = os.path.abspath(options.binary), 0
    for name in options.names or PARTS:
        part = globals()[name]
        print(f"\n{name}: {part.__doc__}", flush=True)
        stage = Stage(options)
        try:
            faults = part(stage)
        except RuntimeError as fault:
            faults = [str(fault)]
        finally:
            stage.end()
        for fault in faults:
            print(f"  FAULT {fault}")
        print(f"{name} {'FAIL' if faults else 'PASS'}", flush=True)
        failed += bool(faults)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
