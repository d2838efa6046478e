"""Injectors: Postfix's smtp-source, and one that remembers which messages were acknowledged."""

import socket
import threading
import time

from .stage import Failed, need

SENDERS = [f"news@sender{n}.test" for n in range(8)]
CLASSES = ["critical", "transactional", "personal", "bulk"]


def smtp_source(stage, engine, messages, sessions=5, size=4096):
    """Eight smtp-sources side by side, each with its own sender and two to a class; gives addresses and seconds."""
    program, began, running, expected = need("smtp-source"), time.monotonic(), [], 0
    for n, sender in enumerate(SENDERS):
        share = messages // 8 + (n < messages % 8)
        filler = "The quick brown fox jumps over the lazy dog, again and again.\n" * (size // 63)
        letter = stage.write(f"letter.{n}", f"From: <{sender}>\nTo: readers:;\nSubject: letter of {sender}\n"
                                            f"X-Staffetta-Class: {CLASSES[n % 4]}\n\n{filler}")
        expected += share
        running.append(stage.spawn([program, "-N", "-d", "-s", sessions, "-m", share, "-f", sender,
                                    "-t", f"u{n}@domain{n}.test", "-F", letter, f"127.0.0.1:{engine.smtp}"]))
    for process in running:
        if process.wait(stage.options.seconds) != 0:
            raise Failed(f"smtp-source ended with status {process.returncode}")
    return expected, time.monotonic() - began


class Injector:
    """Sends numbered messages over several connections and remembers what became of each: acknowledged with 250,
    or broken off before the answer came. Goes on when the engine comes back."""

    def __init__(self, port, messages, connections=16, name="m", size=2048):
        self.port, self.messages, self.name = port, messages, name
        self.acknowledged, self.broken, self.refused = set(), set(), []
        self.next, self.lock, self.stopped = 0, threading.Lock(), False
        self.filler = ("Some text of a message that nobody will read.\r\n" * (size // 48)).encode()
        self.threads = [threading.Thread(target=self.work, daemon=True) for _ in range(connections)]
        for thread in self.threads:
            thread.start()

    def take(self):
        with self.lock:
            if self.next >= self.messages or self.stopped:
                return None
            self.next += 1
            return self.next - 1

    def address(self, number):
        return f"{self.name}{number}@domain{number % 8}.test"

    def work(self):
        while not self.stopped and self.next < self.messages:
            try:
                with socket.create_connection(("127.0.0.1", self.port), 5) as stream:
                    stream.settimeout(30)
                    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    self.session(stream, stream.makefile("rb"))
            except (OSError, EOFError):
                time.sleep(0.05)

    def session(self, stream, replies):
        reply(replies)
        stream.sendall(b"EHLO injector.test\r\n")
        reply(replies)
        while (number := self.take()) is not None:
            address, sender = self.address(number), SENDERS[number % 8]
            try:
                stream.sendall(f"MAIL FROM:<{sender}>\r\nRCPT TO:<{address}>\r\nDATA\r\n".encode())
                codes = [reply(replies)[0] for _ in range(3)]
                if codes != [250, 250, 354]:
                    self.refused.append((address, codes))
                    return
                head = (f"From: <{sender}>\r\nTo: <{address}>\r\nSubject: message {number}\r\n"
                        f"Message-ID: <{self.name}{number}@injector.test>\r\n\r\n")
                stream.sendall(head.encode() + self.filler + b".\r\n")
                code, text = reply(replies)
            except (OSError, EOFError):
                self.broken.add(address)
                raise
            if code == 250:
                self.acknowledged.add(address)
            else:
                self.refused.append((address, text))
        stream.sendall(b"QUIT\r\n")

    def done(self):
        return not any(thread.is_alive() for thread in self.threads)

    def stop(self):
        self.stopped = True
        for thread in self.threads:
            thread.join(35)


def reply(replies):
    """Code and text of the next reply."""
    text = b""
    while True:
        line = replies.readline()
        if not line.endswith(b"\n"):
            raise EOFError
        text += line
        if line[3:4] != b"-":
            return int(line[:3]), text.decode(errors="replace").strip()
