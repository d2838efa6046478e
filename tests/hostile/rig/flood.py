"""A receiver that answers with one line without end, at a stage of its choice, and counts the bytes that were taken from it."""

import socket
import threading

# At most as much as this is said in one line.
LINE_BYTES = 1 << 30
PIECE = b"x" * 4096
# Small, so that what was sent is little more than what was read and what waits in the client's kernel.
SEND_BUFFER = 4096


class Flood:
    """Listens on a port of 127.0.0.1. `stage`: banner, ehlo, mail, rcpt or body."""

    def __init__(self, stage):
        self.stage, self.sent, self.ended = stage, [], 0
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(64)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                stream, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.session, args=(stream,), daemon=True).start()

    def session(self, stream):
        with stream:
            stream.settimeout(120)
            try:
                self.speak(stream)
            except OSError:
                pass

    def speak(self, stream):
        lines = stream.makefile("rb")
        if self.stage == "banner":
            return self.flood(stream, b"220 ")
        stream.sendall(b"220 flood.test\r\n")
        while line := lines.readline():
            verb = line[:4].upper()
            if verb == b"EHLO":
                if self.stage == "ehlo":
                    return self.flood(stream, b"250-")
                stream.sendall(b"250-flood.test\r\n250-CHUNKING\r\n250 PIPELINING\r\n")
            elif verb == b"BDAT":
                lines.read(int(line.split()[1]))
                return self.flood(stream, b"250 ")
            elif verb == self.stage[:4].upper().encode():
                return self.flood(stream, b"250 ")
            else:
                stream.sendall(b"250 ok\r\n")

    def flood(self, stream, code):
        """Until the client closes; its end is what counts."""
        sent = 0
        try:
            stream.sendall(code)
            while sent < LINE_BYTES:
                sent += stream.send(PIECE)
        except OSError:
            self.ended += 1
        self.sent.append(sent)

    def close(self):
        self.listener.close()
