"""Watches a running engine from outside: whether it lives, answers, takes mail, and why not."""

import json
import threading
import time

# An engine that has not answered by then hangs.
ANSWER_SECONDS = 5
EVERY = 0.2


class Watch(threading.Thread):
    """Asks `/healthz` and `/v1/ledger` again and again."""

    def __init__(self, engine):
        super().__init__(daemon=True)
        self.engine, self.ended = engine, threading.Event()
        self.slowest, self.silent, self.reasons, self.status = 0.0, [], {}, 200
        self.start()

    def run(self):
        while not self.ended.wait(EVERY):
            for path in ("/healthz", "/v1/ledger"):
                self.ask(path)

    def ask(self, path):
        began = time.monotonic()
        try:
            status, answer = self.engine.http_ask("GET", path, seconds=ANSWER_SECONDS)
        except OSError as error:
            self.silent.append(f"{path}: {type(error).__name__} {error}")
            return
        self.slowest = max(self.slowest, time.monotonic() - began)
        if path == "/healthz":
            self.status = status
            if status != 200:
                self.reasons.setdefault(reason(answer), round(began, 1))

    def stop(self):
        self.ended.set()
        self.join(3 * ANSWER_SECONDS)


def reason(answer):
    """The message of an error of the API."""
    try:
        return answer["error"]["message"]
    except (TypeError, KeyError):
        return json.dumps(answer)[:200]
