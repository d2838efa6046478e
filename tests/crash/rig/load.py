"""Load: mail by SMTP and by HTTP at the same time, and a memory of what was said to each message."""

import base64
import collections
import hashlib
import http.client
import json
import random
import socket
import threading
import time

from harness.inject import reply

# Lines of text in a message and how often that is chosen: most mail is small, some is not.
LINES = [(4, 30), (30, 40), (160, 25), (1600, 5)]
LINE_BYTES = 64
# How long an answer may take before the connection is given up.
PATIENCE = 30
# The rest after a refusal, so that a refusing engine is asked often and not busily.
REST = 0.05

Refusal = collections.namedtuple("Refusal", "way stage code text at")


class Load:
    """Sends until it is stopped. `acknowledged` has the moment at which the 250 or 202 of a recipient had been read;
    `broken` what was handed over without an answer; `refused` what was refused, with the words; `doubtful` those of the
    refused that had been handed over when the spool broke: they may have reached the disk all the same. Every message
    says in X-Check what it is, so that the sink can tell a changed one."""

    def __init__(self, engine, seed, smtp=6, http=4, domains=("open.test",), lines=LINES, name="m", rest=0.0):
        self.engine, self.seed, self.domains, self.lines, self.name = engine, seed, domains, lines, name
        self.rest = rest
        self.acknowledged, self.broken, self.doubtful, self.refused = {}, set(), set(), []
        self.ways = collections.Counter()
        self.next, self.lock, self.stopped = 0, threading.Lock(), False
        self.going = threading.Event()
        self.going.set()
        self.text = text_of(seed)
        ways = [self.work_smtp] * smtp + [self.work_http] * http
        self.threads = [threading.Thread(target=way, daemon=True) for way in ways]
        for thread in self.threads:
            thread.start()

    def take(self):
        """The next message: recipient, field of headers, body."""
        time.sleep(self.rest)
        self.going.wait()
        if self.stopped:
            return None
        with self.lock:
            number = self.next
            self.next += 1
        chance = random.Random(self.seed * 1_000_003 + number)
        address = f"{self.name}{number}@{self.domains[number % len(self.domains)]}"
        lines = chance.choices([lines for lines, _ in self.lines], [weight for _, weight in self.lines])[0]
        at = chance.randrange(len(self.text) // LINE_BYTES) * LINE_BYTES
        body = f"This is message {number}.\r\n".encode() + (self.text[at:] + self.text * (lines * LINE_BYTES // len(self.text) + 1))[:lines * LINE_BYTES]
        check = hashlib.sha256(address.encode() + b"\n" + body).hexdigest()[:32]
        return number, address, check, body

    def pause(self):
        self.going.clear()

    def go_on(self):
        self.going.set()

    def stop(self):
        """Ends the load; what was handed over is answered first."""
        self.stopped = True
        self.going.set()
        for thread in self.threads:
            thread.join(PATIENCE + 5)

    def sent(self):
        """Everything that may arrive."""
        return set(self.acknowledged) | self.broken | self.doubtful

    def refusals(self, since=0.0, until=float("inf")):
        """How often which answer was given, by way, stage and code."""
        found = [one for one in list(self.refused) if since <= one.at <= until]
        return dict(collections.Counter(f"{one.way} {one.stage} {one.code}" for one in found))

    def accepted(self, address, way):
        self.acknowledged[address] = time.monotonic()
        self.ways[way] += 1

    def refuse(self, way, stage, code, text):
        self.refused.append(Refusal(way, stage, code, text, time.monotonic()))
        time.sleep(REST)

    def work_smtp(self):
        while not self.stopped:
            try:
                with socket.create_connection(("127.0.0.1", self.engine.smtp), 5) as stream:
                    stream.settimeout(PATIENCE)
                    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    self.session(stream, stream.makefile("rb"))
            except (OSError, EOFError):
                time.sleep(REST)

    def session(self, stream, replies):
        code, text = reply(replies)
        if code != 220:
            return self.refuse("smtp", "greeting", code, text)
        stream.sendall(b"EHLO load.test\r\n")
        reply(replies)
        while (message := self.take()) is not None:
            if not self.send(stream, replies, *message):
                return None
        stream.sendall(b"QUIT\r\n")
        return None

    def send(self, stream, replies, number, address, check, body):
        """Sends one message; whether the connection is still good."""
        head = (f"From: <news@sender{number % 8}.test>\r\nTo: <{address}>\r\nSubject: message {number}\r\n"
                f"Message-ID: <{self.name}{number}@load.test>\r\nX-Check: {check}\r\n\r\n").encode()
        handed = False
        try:
            stream.sendall(f"MAIL FROM:<news@sender{number % 8}.test>\r\nRCPT TO:<{address}>\r\nDATA\r\n".encode())
            answers = [reply(replies) for _ in range(3)]
            if answers[2][0] != 354:
                stage, (code, text) = next((one for one in zip(("MAIL", "RCPT", "DATA"), answers) if one[1][0] != 250),
                                           ("DATA", answers[2]))
                self.refuse("smtp", stage, code, text)
                return code != 421
            handed = True
            stream.sendall(head + body.replace(b"\r\n.", b"\r\n..") + b".\r\n")
            code, text = reply(replies)
        except (OSError, EOFError):
            if handed:
                self.broken.add(address)
            raise
        if code == 250:
            self.accepted(address, "smtp")
        else:
            # 452 says that there was no room: such a message was not begun.
            if code != 452:
                self.doubtful.add(address)
            self.refuse("smtp", "dot", code, text)
        return code != 421

    def work_http(self):
        connection = None
        while (message := self.take()) is not None:
            try:
                connection = connection or http.client.HTTPConnection("127.0.0.1", self.engine.http, timeout=PATIENCE)
                self.post(connection, *message)
            except (OSError, http.client.HTTPException):
                # The request may have been taken, unless there was nobody to connect to.
                self.broken.add(message[1])
                connection.close()
                connection = None
                time.sleep(REST)
        if connection:
            connection.close()

    def post(self, connection, number, address, check, body):
        """Hands one message over as JSON: every second one as a whole, the others in parts."""
        sender = f"news@sender{number % 8}.test"
        if number // 2 % 2:
            head = (f"From: <{sender}>\r\nTo: <{address}>\r\nSubject: message {number}\r\n"
                    f"Message-ID: <{self.name}{number}@load.test>\r\nX-Check: {check}\r\n\r\n").encode()
            request = {"from": sender, "to": address, "raw_base64": base64.b64encode(head + body).decode()}
        else:
            request = {"from": sender, "to": address, "subject": f"message {number}", "text": body.decode(),
                       "headers": {"X-Check": check}}
        connection.request("POST", "/v1/messages", json.dumps(request), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
        if answer.status // 100 == 2:
            self.accepted(address, "http")
        else:
            if answer.status == 503:
                self.doubtful.add(address)
            self.refuse("http", "answer", f"{answer.status} {code_of(text)}", "")


def code_of(text):
    """The code in the JSON of an error; the whole answer when it is none."""
    try:
        return json.loads(text)["error"]["code"]
    except (ValueError, KeyError, TypeError):
        return "no JSON: " + text.decode(errors="replace")[:200]


def text_of(seed):
    """Lines of printable characters; some begin with a dot."""
    chance = random.Random(seed)
    letters = "abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ.,0123456789"
    # A space at the end of a line would be encoded, and the sink would have to decode it.
    lines = ("".join(chance.choices(letters, k=LINE_BYTES - 5)) for _ in range(1024))
    return "".join((". " if n % 17 == 0 else "- ") + line + "|\r\n" for n, line in enumerate(lines)).encode()
