"""Installs an image through stratad with Python's standard library: a WebSocket (RFC 6455) over the Unix socket, JSON-RPC 2.0 in it.

Usage: client.py SOCKET REFERENCE. Prints {"job", "events", "status"}.
"""
import base64
import json
import os
import socket
import struct
import sys


class WebSocket:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(60)
        self.socket.connect(path)
        self.file = self.socket.makefile("rb")
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            "GET /v1 HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: stratad.v1\r\n\r\n".encode()
        )
        status = self.file.readline()
        assert b" 101 " in status, status
        while self.file.readline() != b"\r\n":
            pass

    def send(self, opcode, payload):
        length = len(payload)
        size = struct.pack("!B", 128 | length) if length < 126 else struct.pack("!BH", 128 | 126, length)
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
        self.socket.sendall(bytes([128 | opcode]) + size + mask + masked)

    def receive(self):
        """The next text message; pings are answered on the way."""
        message = b""
        while True:
            first, second = self.file.read(2)
            length = second & 127
            if length == 126:
                (length,) = struct.unpack("!H", self.file.read(2))
            elif length == 127:
                (length,) = struct.unpack("!Q", self.file.read(8))
            payload = self.file.read(length)
            opcode = first & 15
            if opcode == 8:
                raise EOFError(payload)
            if opcode == 9:
                self.send(10, payload)
            elif opcode in (0, 1):
                message += payload
                if first & 128:
                    return message.decode()


class Client:
    def __init__(self, path):
        self.socket = WebSocket(path)
        self.id = 0
        self.events = []

    def request(self, method, **params):
        self.id += 1
        frame = {"jsonrpc": "2.0", "id": self.id, "method": method, "params": params}
        self.socket.send(1, json.dumps(frame).encode())
        while True:
            answer = json.loads(self.socket.receive())
            if answer.get("method") == "event":
                self.events.append(answer["params"]["type"])
            if answer.get("id") == self.id:
                if "error" in answer:
                    raise RuntimeError(answer["error"])
                return answer["result"]


def main(path, reference):
    client = Client(path)
    hello = client.request("initialize", clientInfo={"name": "client.py", "version": "1"}, protocolVersions=[1])
    assert hello["protocolVersion"] == 1 and hello["scope"] == "full", hello
    client.request("events/subscribe")
    job = client.request("install/start", reference=reference)
    job = client.request("install/wait", jobId=job["jobId"])
    status = client.request("image/status", reference=reference)
    print(json.dumps({"job": job, "events": client.events, "status": status}))


main(*sys.argv[1:])
