"""The engine's API over its control socket."""

import http.client
import json
import socket

from .. import stage


class Control:
    def __init__(self, path):
        self.path = str(path)

    def request(self, method, path, body=None, kind="application/json"):
        connection = http.client.HTTPConnection("localhost")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(self.path)
        connection.request(method, path, body=body, headers={"Content-Type": kind} if body is not None else {})
        response = connection.getresponse()
        text = response.read()
        connection.close()
        if response.status >= 300:
            raise stage.Void(f"{method} {path}: {response.status} {text[:300]}")
        return json.loads(text) if text else None

    def get(self, path):
        return self.request("GET", path)

    def post(self, path, value=None):
        return self.request("POST", path, json.dumps(value or {}).encode())
