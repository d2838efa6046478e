#!/usr/bin/env python3
"""A recording SMTP receiver, small and strict. It writes a line per connection and per message to a log:

    + CONNECTION IP TIME                              connected
    - CONNECTION IP TIME                              gone
    m CONNECTION IP TIME MESSAGE-ID SENDER RECIPIENT,...  taken (250 said after this was written to the buffer)
    w CONNECTION IP TIME MESSAGE-ID SENDER RECIPIENT,...  the message just taken is not what its sender wrote (with --check)

Run by itself: sink.py --log FILE [--listen HOST:PORT] [--keep DIR] [--no-chunking] [--no-pipelining] [--dot-delay SECONDS]
    [--check]: the field X-Check of each message must be the first 32 hexadecimal digits of the SHA-256 of recipient, line feed, body
It prints `ready PORT`.
"""

import argparse
import asyncio
import hashlib
import pathlib
import re
import signal
import time

MESSAGE_ID = re.compile(rb"^message-id:\s*(\S+)", re.I | re.M)
CHECK = re.compile(rb"^x-check:\s*([0-9a-f]+)", re.I | re.M)
ADDRESS = re.compile(rb"<([^>]*)>")


class Session(asyncio.Protocol):
    count = 0

    def __init__(self, desk):
        self.desk = desk

    def connection_made(self, transport):
        self.transport = transport
        Session.count += 1
        self.number, self.ip = Session.count, transport.get_extra_info("peername")[0]
        self.waiting, self.body, self.left, self.state = b"", [], 0, "command"
        self.out, self.recipients, self.sender = [], [], "<>"
        self.last, self.delayed = False, False
        self.desk.write(f"+ {self.number} {self.ip} {time.time():.3f}\n")
        transport.write(b"220 sink.interop.test ESMTP\r\n")

    def connection_lost(self, _cause):
        self.desk.write(f"- {self.number} {self.ip} {time.time():.3f}\n")

    def data_received(self, piece):
        self.waiting = self.waiting + piece if self.waiting else piece
        self.work()

    def work(self):
        while self.waiting and not self.delayed:
            if not getattr(self, self.state)():
                break
        if self.out and not self.transport.is_closing():
            self.transport.write(b"".join(self.out))
        self.out.clear()

    def say(self, line):
        self.out.append(line + b"\r\n")

    def command(self):
        line, found, rest = self.waiting.partition(b"\r\n")
        if not found:
            return False
        self.waiting = rest
        verb = line[:4].upper()
        if verb == b"MAIL":
            self.recipients = []
            self.sender = ADDRESS.search(line)[1].decode("utf-8", "surrogateescape") or "<>"
            self.say(b"250 2.1.0 sender ok")
        elif verb == b"RCPT":
            self.recipients.append(ADDRESS.search(line)[1].decode("utf-8", "surrogateescape"))
            self.say(b"250 2.1.5 recipient ok")
        elif verb == b"DATA":
            self.state, self.body = "data", []
            self.say(b"354 go on")
        elif verb == b"BDAT":
            parts = line.split()
            self.left, self.last, self.state = int(parts[1]), len(parts) > 2, "chunk"
            if self.left == 0:
                return self.chunk()
        elif verb in (b"EHLO", b"HELO"):
            self.say(self.desk.hello)
        elif verb == b"RSET":
            self.recipients, self.body = [], []
            self.say(b"250 2.0.0 reset")
        elif verb == b"NOOP":
            self.say(b"250 2.0.0 ok")
        elif verb == b"QUIT":
            self.say(b"221 2.0.0 bye")
            self.transport.write(b"".join(self.out))
            self.out.clear()
            self.transport.close()
        else:
            self.say(b"500 5.5.1 what?")
        return True

    def data(self):
        # A lone dot may also be the first line.
        if not self.body and self.waiting.startswith(b".\r\n"):
            end, length = 0, 3
        else:
            end, length = self.waiting.find(b"\r\n.\r\n"), 5
        if end < 0:
            return False
        text, self.waiting = self.waiting[:end + 2 if length == 5 else 0], self.waiting[end + length:]
        if text.startswith(b".") or b"\r\n." in text:
            text = re.sub(rb"(^|\r\n)\.", rb"\1", text)
        self.state = "command"
        self.taken(text)
        return True

    def chunk(self):
        piece, self.waiting = self.waiting[:self.left], self.waiting[self.left:]
        self.body.append(piece)
        self.left -= len(piece)
        if self.left:
            return False
        self.state = "command"
        if self.last:
            text, self.body = b"".join(self.body), []
            self.taken(text)
        else:
            self.say(b"250 2.0.0 more")
        return True

    def taken(self, text):
        self.desk.take(self, text)
        self.recipients = []
        if self.desk.dot_delay:
            self.delayed = True
            asyncio.get_running_loop().call_later(self.desk.dot_delay, self.late)
        else:
            self.say(b"250 2.0.0 taken")

    def late(self):
        self.delayed = False
        self.say(b"250 2.0.0 taken")
        self.work()


class Desk:
    def __init__(self, options):
        self.log = open(options.log, "ab", buffering=1 << 16)
        self.check = options.check
        self.keep, self.kept, self.dot_delay = options.keep and pathlib.Path(options.keep), 0, options.dot_delay
        features = [b"sink.interop.test", b"8BITMIME", b"SMTPUTF8", b"SIZE 104857600", b"ENHANCEDSTATUSCODES"]
        features += [] if options.no_chunking else [b"CHUNKING"]
        features += [] if options.no_pipelining else [b"PIPELINING"]
        self.hello = b"\r\n".join([b"250-" + one for one in features[:-1]] + [b"250 " + features[-1]])

    def write(self, line):
        self.log.write(line.encode("utf-8", "surrogateescape"))

    def take(self, session, text):
        found = MESSAGE_ID.search(text, 0, 16_384)
        identity = found[1].decode("latin-1") if found else "-"
        line = f"{session.number} {session.ip} {time.time():.3f} {identity} {session.sender} {','.join(session.recipients)}\n"
        self.write("m " + line)
        if self.check and not is_what_was_written(text, session.recipients[0]):
            self.write("w " + line)
        if self.keep:
            self.kept += 1
            (self.keep / f"{self.kept:06}.eml").write_bytes(text)


def is_what_was_written(text, recipient):
    """Whether a message is the one that was written for this recipient, byte for byte."""
    head, _, body = text.partition(b"\r\n\r\n")
    found = CHECK.search(head)
    return found is not None and found[1].decode() == hashlib.sha256(recipient.encode() + b"\n" + body).hexdigest()[:32]


async def main(options):
    desk = Desk(options)
    loop = asyncio.get_running_loop()
    host, port = options.listen.rsplit(":", 1)
    server = await loop.create_server(lambda: Session(desk), host, int(port), backlog=1024)
    print("ready", server.sockets[0].getsockname()[1], flush=True)
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    while not stop.is_set():
        try:
            await asyncio.wait_for(stop.wait(), 0.1)
        except asyncio.TimeoutError:
            desk.log.flush()
    desk.log.close()


if __name__ == "__main__":
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("--listen", default="127.0.0.1:0")
    reader.add_argument("--log", required=True)
    reader.add_argument("--keep")
    reader.add_argument("--no-chunking", action="store_true")
    reader.add_argument("--no-pipelining", action="store_true")
    reader.add_argument("--dot-delay", type=float, default=0.0)
    reader.add_argument("--check", action="store_true")
    asyncio.run(main(reader.parse_args()))
