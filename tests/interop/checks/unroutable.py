"""Mail for domains without mail hosts bounces with a sentence that names the DNS answer; MX order and null MX are kept."""

import email
import re

from harness.dns import A, MX, Dns
from harness.engine import Engine, balances, route
from harness.receivers import Sink

ZONE = {
    ("good.test", MX): [(20, "mx2.good.test"), (10, "mx1.good.test")],
    ("mx1.good.test", A): ["127.0.0.21"],
    ("mx2.good.test", A): ["127.0.0.22"],
    ("second.test", MX): [(10, "down.second.test"), (20, "mx1.good.test")],
    ("down.second.test", A): ["127.0.0.99"],
    ("address.test", A): ["127.0.0.21"],
    ("nullmx.test", MX): [(0, "")],
    ("nohosts.test", MX): [(10, "gone.nohosts.test")],
    ("empty.test", 16): ["v=spf1 -all"],
    ("inner.test", MX): [(10, "inner.inner.test")],
    ("inner.inner.test", A): ["10.1.2.3"],
    ("broken.test", 16): ["nothing"],
}
# Domain, words that the DSN must hold.
BOUNCING = {"nowhere.test": ("NXDOMAIN|does not exist|no such domain", "5.1.2"), "nullmx.test": ("null MX|accepts no mail|takes no mail", "5.1.10"),
            "nohosts.test": ("gone.nohosts.test|address", "5.4.4"), "empty.test": ("MX|A ", "5.4.4"), "inner.test": ("10.1.2.3|private", "5.")}
ARRIVING = {"good.test": "127.0.0.21", "second.test": "127.0.0.21", "address.test": "127.0.0.21"}


def run(stage):
    dns = Dns(ZONE, failing={"broken.test"})
    stage.closers.append(dns.close)
    kept = stage.path("bounces")
    kept.mkdir()
    first = Sink(stage, name="sink-21", listen="127.0.0.21:0")
    second = Sink(stage, name="sink-22", listen=f"127.0.0.22:{first.port}")
    back = Sink(stage, "--keep", kept, name="sink-back")
    engine = Engine(stage, f'\n[dns]\nservers = ["127.0.0.1:{dns.port}"]\n\n[deliver]\nport = {first.port}\n'
                           f'allow_private = ["127.0.0.0/8"]\nconnect_timeout = "5s"\ntls = "off"\n' + route(back.port, "sender.test"))
    engine.start()
    for domain in (*BOUNCING, *ARRIVING, "broken.test"):
        submit(engine, f"you@{domain}")
    for domain in ARRIVING:
        stage.wait(f"mail at {domain}", lambda: first.read().arrivals[f"you@{domain}"] == 1, 30)
    stage.fact("mail goes to the best MX, the next one, or the address", not second.read().messages, arrived=sorted(first.book.arrivals))
    stage.wait("the bounces", lambda: back.settled().messages >= len(BOUNCING), 30)
    bounces = {address: report for address, report in map(read_bounce, sorted(kept.iterdir()))}
    for domain, (words, status) in BOUNCING.items():
        report = bounces.get(f"you@{domain}", {})
        text, told = report.get("text", ""), report.get("status", "")
        sentence = next((line.strip() for line in text.splitlines() if re.search(words, line)), "")
        stage.fact(f"{domain} bounces and names the answer", sentence and told.startswith(status), status=told, sentence=sentence,
                   diagnostic=report.get("diagnostic", ""))
    stage.fact("the DSN comes from <> and is a multipart/report", all(one["kind"] == "multipart/report" for one in bounces.values())
               and len(bounces) == len(BOUNCING) and back.book.senders == {"<>": len(BOUNCING)}, bounces=len(bounces),
               envelope_senders=dict(back.book.senders))
    waiting = engine.ledger()["queued"]
    told = engine.cli("why", engine.identity_of_broken).stdout
    stage.fact("SERVFAIL is waited for, and `why` says so", waiting == 1 and "SERVFAIL" in told, queued=waiting,
               told=[line.strip() for line in told.splitlines() if "waits for" in line or "DNS" in line or "SERVFAIL" in line])
    ledger = engine.ledger()
    stage.fact("the ledger balances", balances(ledger) and ledger["bounced"] == len(BOUNCING), **ledger)
    status, _ = engine.stop()
    stage.fact("SIGTERM ends it with status 0", status == 0, status=status)


def submit(engine, to):
    """One message by the HTTP API; remembers the recipient that has to wait."""
    status, answer = engine.http_ask("POST", "/v1/messages", {"from": "ann@sender.test", "to": [to], "subject": "hello", "text": "Hi."})
    if status != 202:
        raise AssertionError(f"{to}: {status} {answer}")
    if to.endswith("@broken.test"):
        engine.identity_of_broken = answer["recipients"][0]["id"]


def read_bounce(path):
    message = email.message_from_bytes(path.read_bytes())
    parts = {}
    for part in message.walk():
        parts.setdefault(part.get_content_type(), part)
    status = parts.get("message/delivery-status")
    fields = {}
    for block in status.get_payload() if status else []:
        fields.update({name.lower(): value for name, value in block.items()})
    plain = parts.get("text/plain")
    text = plain.get_payload(decode=True).decode(errors="replace") if plain else ""
    address = fields.get("final-recipient", ";").split(";")[1].strip()
    return address, {"kind": message.get_content_type(), "status": fields.get("status", ""), "text": text,
                     "diagnostic": re.sub(r"\s+", " ", fields.get("diagnostic-code", ""))}
