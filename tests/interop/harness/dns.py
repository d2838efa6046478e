"""A small DNS server over UDP in a thread: answers from a table, NXDOMAIN for what is not in it."""

import socket
import struct
import threading

A, MX, AAAA, TXT = 1, 15, 28, 16


class Dns:
    """`zone` maps (name, type) to a list of answers: (preference, host) for MX, text for A. A name that is there with
    any type exists; others get NXDOMAIN. A name in `silent` gets no answer, one in `failing` SERVFAIL."""

    def __init__(self, zone, silent=(), failing=()):
        self.zone, self.silent, self.failing = zone, set(silent), set(failing)
        self.names = {name for name, _ in zone}
        self.asked = []
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                query, peer = self.socket.recvfrom(4096)
            except OSError:
                return
            answer = self.answer(query)
            if answer:
                self.socket.sendto(answer, peer)

    def answer(self, query):
        name, end = read_name(query, 12)
        kind = struct.unpack_from(">H", query, end)[0]
        question = query[12:end + 4]
        self.asked.append((name, kind))
        if name in self.silent:
            return None
        code = 2 if name in self.failing else 0 if name in self.names else 3
        found = self.zone.get((name, kind), []) if code == 0 else []
        records = b"".join(b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 60, len(body)) + body
                           for body in (encode(kind, one) for one in found))
        # An SOA in the authority section lets resolvers keep "no" for a while.
        soa = b"" if found or code == 2 else b"\x04test\x00" + struct.pack(">HHIH", 6, 1, 60, 22) + b"\x00\x00" + struct.pack(">5I", 1, 60, 60, 60, 60)
        head = query[:2] + struct.pack(">HHHHH", 0x8180 | code, 1, len(found), 1 if soa else 0, 0)
        return head + question + records + soa

    def close(self):
        self.socket.close()


def read_name(packet, at):
    labels = []
    while packet[at]:
        labels.append(packet[at + 1:at + 1 + packet[at]].decode("latin-1").lower())
        at += 1 + packet[at]
    return ".".join(labels), at + 1


def write_name(name):
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".") if label) + b"\x00"


def encode(kind, answer):
    if kind == MX:
        return struct.pack(">H", answer[0]) + write_name(answer[1])
    if kind == A:
        return socket.inet_aton(answer)
    if kind == AAAA:
        return socket.inet_pton(socket.AF_INET6, answer)
    text = answer.encode()
    return b"".join(bytes([len(text[at:at + 255])]) + text[at:at + 255] for at in range(0, len(text), 255))
