"""200 varied messages carry an RSA and an Ed25519 signature that dkimpy verifies against the keys of `staffetta init`."""

import collections
import email.message
import email.policy
import random
import re
import smtplib
import tomllib

from harness.engine import Engine, route
from harness.receivers import Sink
from harness.stage import Failed, Skipped

MESSAGES = 200
DOMAIN = "sender.test"


def run(stage):
    try:
        import dkim
    except ImportError:
        raise Skipped("the Python package dkimpy is not installed") from None
    keys, records = initialise(stage)
    kept = {}
    sinks = {}
    for name, flags in (("chunks", []), ("lines", ["--no-chunking"]), ("steps", ["--no-chunking", "--no-pipelining"])):
        kept[name] = stage.path(name)
        kept[name].mkdir()
        sinks[name] = Sink(stage, *flags, "--keep", kept[name], name=f"sink-{name}")
    routes = "".join(route(sink.port, f"{name}.test") for name, sink in sinks.items())
    engine = Engine(stage, routes + keys)
    engine.start()
    refused = submit(engine, list(sinks))
    engine.wait_empty(60, MESSAGES - len(refused))
    messages = [(name, path.read_bytes()) for name, folder in kept.items() for path in sorted(folder.iterdir())]
    stage.fact("all were taken and came", len(messages) == MESSAGES and not refused, came=len(messages), refused=refused[:5])
    good, bad = collections.Counter(), []
    for name, text in messages:
        for fact, algorithm, ok in verdicts(dkim, text, records):
            good[algorithm] += ok
            if not ok:
                subject = re.search(rb"^X-Kind: (.*?)\r$", text, re.M)
                bad.append(f"{algorithm} {name} {subject[1].decode() if subject else '?'} {fact}")
    for algorithm in ("rsa-sha256", "ed25519-sha256"):
        stage.fact(f"{algorithm} verifies", good[algorithm] == len(messages) == MESSAGES, verified=good[algorithm], of=len(messages))
    stage.fact("no signature fails", not bad, failing=bad[:8])
    controls = [text for _, text in messages]
    spoilt = sum(not ok for text in controls for _, _, ok in verdicts(dkim, spoil(text), records))
    stage.fact("a changed message does not verify", spoilt == 2 * len(controls), spoilt=spoilt)
    engine.stop()


def initialise(stage):
    """Keys by `staffetta init`: the configuration that names them, and the records that it prints to publish."""
    folder = stage.path("init")
    done = stage.run([stage.options.binary, "init", "--dir", folder, "--domain", DOMAIN, "--selector", "s1"])
    if done.returncode:
        raise Failed(f"init failed: {done.stderr}")
    text = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout)
    records = {}
    for line in text.splitlines():
        if found := re.match(r"\s*(\S+\._domainkey\.\S+?)\.?\s.*?(\"v=DKIM1.*)$", line):
            records[found[1]] = "".join(re.findall(r'"([^"]*)"', found[2]))
    stage.fact("init prints two DKIM records", len(records) == 2, names=sorted(records), output="" if records else text[:1500])
    stated = tomllib.loads((folder / "staffetta.toml").read_text())
    domain = next(one for one in stated["domain"] if one["name"] == DOMAIN)
    text = f'\n[[domain]]\nname = "{DOMAIN}"\n'
    for key in domain["dkim"]:
        text += f'[[domain.dkim]]\nselector = "{key["selector"]}"\nkey_file = "{key["key_file"]}"\nalgorithm = "{key["algorithm"]}"\n'
    return text, records


def verdicts(dkim, text, records):
    """For each DKIM-Signature of a message: what is wrong, its algorithm, whether it verifies."""
    count = len(re.findall(rb"^DKIM-Signature:", text, re.I | re.M))
    # The first field in the message is signature 0.
    algorithms = re.findall(rb"^DKIM-Signature:(?:[^\r]|\r\n[ \t])*?\ba=([a-z0-9-]+)", text, re.I | re.M)
    for n in range(count):
        algorithm = algorithms[n].decode() if n < len(algorithms) else "?"
        try:
            ok = dkim.DKIM(text).verify(idx=n, dnsfunc=lambda name, timeout=5: lookup(records, name))
            yield "", algorithm, ok
        except dkim.DKIMException as error:
            yield repr(error), algorithm, False


def lookup(records, name):
    name = name.decode() if isinstance(name, bytes) else name
    return records.get(name.rstrip("."), "").encode()


def spoil(text):
    head, _, body = text.partition(b"\r\n\r\n")
    return head + b"\r\n\r\n" + (b"spoilt " + body)


def submit(engine, names):
    """Submits every variation, each to one of the receivers; gives those that were refused."""
    refused = []
    with smtplib.SMTP("127.0.0.1", engine.smtp, timeout=30) as client:
        client.ehlo()
        for n, (kind, text) in enumerate(variations(MESSAGES)):
            try:
                client.sendmail(f"ann@{DOMAIN}", [f"reader{n}@{names[n % len(names)]}.test"], text, ["BODY=8BITMIME"])
            except smtplib.SMTPException as error:
                refused.append(f"{kind}: {error}")
                client.rset()
    return refused


def variations(count):
    """Every body with every head in turn, with random lengths from a fixed seed."""
    dice = random.Random(20_26)
    bodies, heads = list(BODIES.items()), list(HEADS.items())
    for n in range(count):
        body_name, body = bodies[n % len(bodies)]
        head_name, head = heads[n // len(bodies) % len(heads)]
        kind = f"{head_name} + {body_name}"
        fields, text = body(dice)
        lines = [f"From: Ann <ann@{DOMAIN}>".encode(), f"X-Kind: {kind}".encode(), *head(dice), *fields]
        yield kind, b"\r\n".join(lines) + b"\r\n\r\n" + text


def words(dice, count):
    return b" ".join(dice.choice([b"posta", b"mail", b"staffetta", b"letter", b"a", b"reader"]) for _ in range(count))


def plain(text):
    return lambda dice: ([b"Content-Type: text/plain; charset=utf-8"], text(dice))


def attachments(dice):
    message = email.message.EmailMessage(policy=email.policy.SMTP)
    message.set_content("Two files.\n")
    message.add_alternative("<p>Two <b>files</b>.</p>", subtype="html")
    message.add_attachment(dice.randbytes(dice.randrange(1, 60_000)), maintype="application", subtype="octet-stream", filename="a.bin")
    message.add_attachment("Grüße\n" * dice.randrange(1, 300), filename="grüße.txt")
    head, _, body = message.as_bytes().partition(b"\r\n\r\n")
    return head.split(b"\r\n"), body


BODIES = {
    "8-bit": plain(lambda dice: "Perché no? Grüße, Zoë. ☕\r\n".encode() * dice.randrange(1, 50)),
    "latin-1": lambda dice: ([b"Content-Type: text/plain; charset=iso-8859-1"], bytes([0xe8, 0xe9, 0xa0, 0x0d, 0x0a]) * 20),
    "long lines": plain(lambda dice: (words(dice, 400)[:996] + b"\r\n") * 5),
    "empty": plain(lambda dice: b""),
    "only line ends": plain(lambda dice: b"\r\n" * dice.randrange(1, 9)),
    "only white space": plain(lambda dice: b" \t \r\n\t\r\n  \r\n"),
    "white space at line ends": plain(lambda dice: b"".join(words(dice, 5) + b" \t" * dice.randrange(4) + b"\r\n" for _ in range(30))),
    "empty lines at the end": plain(lambda dice: words(dice, 20) + b"\r\n" * dice.randrange(2, 12)),
    "white space lines at the end": plain(lambda dice: words(dice, 20) + b"\r\n" + b"  \r\n\t\r\n" * dice.randrange(1, 5)),
    "no line end at the end": plain(lambda dice: words(dice, 30)),
    "dots": plain(lambda dice: b".\r\n..\r\n.dot\r\n" + words(dice, 9) + b"\r\n.\r\n"),
    "tabs within": plain(lambda dice: (b"a\t\tb  c \t d\r\n") * 40),
    "attachments": attachments,
    "large": plain(lambda dice: b"".join(words(dice, 10) + b"\r\n" for _ in range(8000))),
}

HEADS = {
    "plain": lambda dice: [b"To: reader@reader.test", b"Subject: " + words(dice, 4)],
    "folded": lambda dice: [b"To: one@reader.test,\r\n\ttwo@reader.test,\r\n   three@reader.test", b"Subject: " + words(dice, 3) + b"\r\n " + words(dice, 9)],
    "white space": lambda dice: [b"To:   reader@reader.test  ", b"Subject:\t" + words(dice, 2) + b"   " + words(dice, 2) + b" \t"],
    "encoded words": lambda dice: [b"To: =?utf-8?q?Zo=C3=AB?= <reader@reader.test>", b"Subject: =?utf-8?b?R3LDvMOfZSBhdXMgTWFpbGFuZA==?="],
    "list": lambda dice: [b"To: readers:;", b"Subject: news", b"List-Id: <news.sender.test>", b"List-Unsubscribe: <https://sender.test/leave>",
                          b"List-Unsubscribe-Post: List-Unsubscribe=One-Click", b"Precedence: bulk"],
    "dated": lambda dice: [b"Date: Mon, 1 Jan 2024 10:00:00 +0100", b"Message-ID: <%d@sender.test>" % dice.randrange(10**12),
                           b"To: reader@reader.test", b"Subject:"],
    "repeated": lambda dice: [b"To: reader@reader.test", b"Subject: twice", b"Comments: first", b"Comments: second", b"Keywords: a,\r\n b"],
    "eight-bit": lambda dice: [b"To: reader@reader.test", "Subject: Perché no, Zoë?".encode()],
}
