"""Letters, what must become of each recipient, and whether it did: by the engine's API and by what the receiver kept."""

import base64
import collections
import concurrent.futures
import dataclasses
import email
import hashlib
import smtplib
import time

from harness.stage import Failed

# Where a story may end. `waits` is a recipient that is deferred again and again until it expires.
DELIVERED, BOUNCED, WAITS = "delivered", "bounced", "waits"
ENDS = {"delivered": DELIVERED, "bounced": BOUNCED, "queued": WAITS, "expired": WAITS}


@dataclasses.dataclass(frozen=True)
class Expect:
    """What must become of a recipient. `kept`: how often the receiver has it at least when it is delivered; more than
    once only as often as its story has `unknown` ends. `classes`: one attempt's verdict is of these."""
    ends: frozenset
    kept: int = 1
    classes: frozenset = frozenset()
    deferred: int = 0
    unknown: int = 0


def expect(*ends, kept=1, classes=(), deferred=0, unknown=0):
    return Expect(frozenset(ends), kept, frozenset(classes), deferred, unknown)


ONCE = expect(DELIVERED)


@dataclasses.dataclass
class Letter:
    """One message; `to` has an expectation for each recipient. `converted`: it arrives in another encoding (RFC 6152)."""
    sender: str
    to: dict
    body: bytes = b"Good morning.\r\n"
    extra: str = ""
    hurry: str = "transactional"
    delay: float = 0.0
    by_smtp: dict = None
    converted: bool = False
    identity: str = ""
    told: dict = dataclasses.field(default_factory=dict)

    def raw(self):
        head = (f"From: <ann@back.test>\r\nTo: readers:;\r\nSubject: a letter\r\n{self.extra}"
                f"Message-ID: <{next(iter(self.to)).split('@')[0].replace('+', '.')}@hostile.test>\r\n"
                "Date: Sun, 22 Nov 2026 10:00:00 +0000\r\n\r\n")
        return head.encode() + self.body

    def checksum(self):
        return hashlib.sha256(self.body).hexdigest()


def submit(engine, letters, start):
    """Hands all letters over, to leave at `start` (seconds since 1970) or their delay later."""
    with concurrent.futures.ThreadPoolExecutor(8) as hands:
        list(hands.map(lambda letter: submit_one(engine, letter, start), letters))


def submit_one(engine, letter, start):
    moment = start + letter.delay
    when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment)) + f".{int(moment % 1 * 1000):03}Z"
    if letter.by_smtp is not None:
        return submit_by_smtp(engine, letter, when)
    asked = {"from": letter.sender, "to": list(letter.to), "raw_base64": base64.b64encode(letter.raw()).decode(),
             "class": letter.hurry, "not_before": when}
    for _ in range(200):
        status, answer = engine.http_ask("POST", "/v1/messages", asked)
        if status == 202:
            letter.identity = answer["id"]
            return
        if status not in (429, 503):
            raise Failed(f"{list(letter.to)[0]} was refused: {status} {answer}")
        time.sleep(0.05)
    raise Failed("the engine stayed busy")


def submit_by_smtp(engine, letter, when):
    """With parameters of MAIL and RCPT, which the API does not know."""
    head = f"X-Staffetta-Not-Before: {when}\r\nX-Staffetta-Class: {letter.hurry}\r\n".encode()
    with smtplib.SMTP("127.0.0.1", engine.smtp, timeout=30) as client:
        client.ehlo("hostile.test")
        client.mail(letter.sender, letter.by_smtp.get("mail", []))
        for address in letter.to:
            code, text = client.rcpt(address, letter.by_smtp.get("rcpt", []))
            if code != 250:
                raise Failed(f"{address} was refused: {code} {text}")
        code, text = client.data(head + letter.raw())
        if code != 250:
            raise Failed(f"the letter to {list(letter.to)[0]} was refused: {code} {text}")


def read_stories(engine, letters):
    """Asks what has become of all letters that are not finished; gives how many are not."""
    by_address = {}
    if any(letter.by_smtp is not None and not letter.identity for letter in letters):
        by_address = identities(engine)
    for letter in letters:
        if not letter.identity:
            letter.identity = by_address.get(next(iter(letter.to)), "")
    open_ones = [letter for letter in letters if letter.identity and not is_finished(letter)]

    def ask(letter):
        status, answer = engine.http_ask("GET", f"/v1/messages/{letter.identity}")
        if status == 200:
            letter.told = {one["address"]: one for one in answer["recipients"]}
    with concurrent.futures.ThreadPoolExecutor(4) as hands:
        list(hands.map(ask, open_ones))
    return sum(1 for letter in letters if not is_finished(letter))


def identities(engine):
    """The message of each recipient that the feed has named."""
    found, cursor = {}, ""
    while True:
        status, page = engine.http_ask("GET", "/v1/events?limit=10000" + (f"&after={cursor}" if cursor else ""))
        if status != 200 or not page["events"]:
            return found
        found.update({event["address"]: event["message"] for event in page["events"]})
        cursor = page["next"]


def is_finished(letter):
    return bool(letter.told) and all(one["state"] != "queued" for one in letter.told.values())


def problems(letter, kept):
    """Everything about a letter that is not as it must be."""
    found = []
    for address, wanted in letter.to.items():
        told = letter.told.get(address)
        if told is None:
            found.append(f"{address}: the engine tells nothing about it")
        else:
            found += [f"{address}: {what}" for what in wrong(wanted, told, kept.get(address, []), letter)]
    return found


def wrong(wanted, told, kept, letter):
    attempts = told["attempts"]
    events = collections.Counter(attempt["event"] for attempt in attempts)
    classes = {attempt["verdict"] for attempt in attempts if attempt["verdict"]}
    end, unknown = ENDS.get(told["state"], told["state"]), events["unknown"]
    story = f"{told['state']} after {brief_story(attempts)}"
    if end not in wanted.ends:
        yield f"is {story}, expected {' or '.join(sorted(wanted.ends))}"
    least, most = (wanted.kept, wanted.kept + unknown) if end == DELIVERED else (0, unknown)
    if not least <= len(kept) <= most:
        yield f"was kept {len(kept)} times, {story}"
    if wanted.classes and not wanted.classes & classes:
        yield f"has the verdicts {sorted(classes)}, expected one of {sorted(wanted.classes)} ({story})"
    if events["deferred"] + unknown < wanted.deferred:
        yield f"was deferred {events['deferred'] + unknown} times, expected {wanted.deferred} ({story})"
    if unknown < wanted.unknown:
        yield f"has {unknown} unknown ends, expected {wanted.unknown} ({story})"
    if not all(is_what_was_written(letter, message) for message in kept):
        yield "was kept with another body than was handed over"


def is_what_was_written(letter, message):
    if not letter.converted:
        return message["bodysha"] == letter.checksum()
    raw = message["file"].read_bytes()
    return raw.isascii() and email.message_from_bytes(raw).get_payload(decode=True) == letter.body


def brief_story(attempts):
    told = [f"{one['event']}:{one['phase']}:{one['verdict']}:{one['code']}" for one in attempts]
    return " ".join(told[:4]) + (f" … {len(told)} in all" if len(told) > 4 else "")
