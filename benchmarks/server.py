"""The server that all peers call: one process, one thread, answers made beforehand.

    python benchmarks/server.py        prints its port, and serves until its standard input ends

HTTP/1.1 by hand over non-blocking sockets, so that a request costs it a few microseconds, and it is never
what a benchmark measures. What it answers:

- ``POST …/chat/completions``: a chat completion of about 1 kB. With ``"stream": true``, 500 chunks as
  server-sent events, each in an HTTP chunk of its own, as inference servers write them. Where the model's
  name has ``held`` in it, nothing before ``GET /release``;
- ``POST …/embeddings``: 256 vectors of 1,024 floats;
- ``GET /spent``: requests so far, seconds of CPU, and how many are held; ``GET /release`` answers those;
- ``GET …/models``: a list of one.
"""

from __future__ import annotations

import json
import random
import re
import selectors
import socket
import sys
import threading
import time
from dataclasses import dataclass, field

CHUNKS = 500
VECTORS, FLOATS = 256, 1024
WORDS = ("the", "sky", "is", "blue", "because", "air", "scatters", "short", "waves", "more", "than", "long")
MODEL = "Qwen/Qwen3.5-9B"
_PIECE = 262_144
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_STREAM = re.compile(rb'"stream": ?true')


def complete(kind: bytes, body: bytes) -> bytes:
    head = (
        b"HTTP/1.1 200 OK\r\ncontent-type: %s\r\nx-request-id: req-7f3a9c51d2\r\n"
        b"date: Mon, 23 Nov 2026 08:00:00 GMT\r\nserver: loopback\r\ncontent-length: %d\r\n\r\n"
    )
    return head % (kind, len(body)) + body


def chat_answer() -> bytes:
    content = "The sky is blue because air scatters short waves of light more than long ones. " * 8
    body = {
        "id": "chatcmpl-7f3a9c51d2e84b6f",
        "object": "chat.completion",
        "created": 1795420800,
        "model": MODEL,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": content, "tool_calls": []},
                "logprobs": None,
                "finish_reason": "stop",
                "seed": 4711,
            }
        ],
        "prompt": [],
        "usage": {"prompt_tokens": 212, "completion_tokens": 164, "total_tokens": 376},
    }
    return complete(b"application/json", json.dumps(body).encode())


def stream_events(chunks: int = CHUNKS) -> list[bytes]:
    """Server-sent events: a chunk for each token, the last with the reason and the usage."""
    events = []
    for number in range(chunks):
        last = number == chunks - 1
        delta = {"content": "" if last else f" {WORDS[number % len(WORDS)]}"}
        if number == 0:
            delta["role"] = "assistant"
        chunk = {
            "id": "chatcmpl-7f3a9c51d2e84b6f",
            "object": "chat.completion.chunk",
            "created": 1795420800,
            "model": MODEL,
            "choices": [
                {
                    "index": 0,
                    "delta": delta,
                    "logprobs": None,
                    "finish_reason": "stop" if last else None,
                }
            ],
            "usage": {"prompt_tokens": 212, "completion_tokens": chunks, "total_tokens": 212 + chunks}
            if last
            else None,
        }
        events.append(b"data: " + json.dumps(chunk).encode() + b"\n\n")
    return [*events, b"data: [DONE]\n\n"]


def stream_answer() -> bytes:
    head = (
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nx-request-id: req-7f3a9c51d2\r\n"
        b"date: Mon, 23 Nov 2026 08:00:00 GMT\r\nserver: loopback\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    return head + b"".join(b"%x\r\n%s\r\n" % (len(event), event) for event in stream_events()) + b"0\r\n\r\n"


def embeddings_answer() -> bytes:
    dice = random.Random(1)
    data = [
        {
            "object": "embedding",
            "index": number,
            "embedding": [round(dice.uniform(-0.2, 0.2), 10) for _ in range(FLOATS)],
        }
        for number in range(VECTORS)
    ]
    body = {
        "object": "list",
        "data": data,
        "model": MODEL,
        "usage": {"prompt_tokens": 4096, "total_tokens": 4096},
    }
    return complete(b"application/json", json.dumps(body).encode())


@dataclass(slots=True, eq=False)
class Connection:
    socket: socket.socket
    got: bytes = b""
    rest: memoryview = field(default_factory=lambda: memoryview(b""))


class Server:
    def __init__(self) -> None:
        self._chat, self._stream, self._embeddings = chat_answer(), stream_answer(), embeddings_answer()
        self._models = complete(
            b"application/json", json.dumps({"object": "list", "data": [{"id": MODEL}]}).encode()
        )
        self._held: list[Connection] = []
        self._requests = 0
        self._selector = selectors.DefaultSelector()
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self._listening.setblocking(False)
        self._selector.register(self._listening, selectors.EVENT_READ)
        self.port: int = self._listening.getsockname()[1]

    def serve(self) -> None:
        while True:
            for key, events in self._selector.select():
                if key.data is None:
                    self._accept()
                elif events & selectors.EVENT_WRITE:
                    self._send(key.data)
                else:
                    self._read(key.data)

    def _accept(self) -> None:
        while True:
            try:
                accepted, _ = self._listening.accept()
            except BlockingIOError:
                return
            accepted.setblocking(False)
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._selector.register(accepted, selectors.EVENT_READ, Connection(accepted))

    def _read(self, connection: Connection) -> None:
        try:
            piece = connection.socket.recv(_PIECE)
        except BlockingIOError:
            return
        except OSError:
            piece = b""
        if not piece:
            self._close(connection)
            return
        got = connection.got + piece if connection.got else piece
        while (end := got.find(b"\r\n\r\n")) >= 0:
            found = _LENGTH.search(got, 0, end)
            size = end + 4 + (int(found[1]) if found else 0)
            if len(got) < size:
                break
            self._requests += 1
            answer = self._answer(connection, got[: got.find(b"\r\n")], got[end:size])
            got = got[size:]
            if answer:
                self._give(connection, answer)
        connection.got = got

    def _answer(self, connection: Connection, line: bytes, body: bytes) -> bytes:
        if b"/chat/completions" in line:
            if _STREAM.search(body):
                return self._stream
            if b"held" in body:
                self._held.append(connection)
                return b""
            return self._chat
        if b"/embeddings" in line:
            return self._embeddings
        if b"/models" in line:
            return self._models
        if b"/spent" in line:
            spent = {"requests": self._requests, "cpu": time.process_time(), "held": len(self._held)}
            return complete(b"application/json", json.dumps(spent).encode())
        if b"/release" in line:
            held, self._held = self._held, []
            for one in held:
                self._give(one, self._chat)
            return complete(b"application/json", json.dumps(len(held)).encode())
        return b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"

    def _give(self, connection: Connection, answer: bytes) -> None:
        connection.rest = memoryview(bytes(connection.rest) + answer if connection.rest else answer)
        self._send(connection)

    def _send(self, connection: Connection) -> None:
        try:
            sent = connection.socket.send(connection.rest)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._close(connection)
            return
        had_all = len(connection.rest) == sent
        connection.rest = connection.rest[sent:]
        if had_all != (self._selector.get_key(connection.socket).events == selectors.EVENT_READ):
            self._selector.modify(
                connection.socket,
                selectors.EVENT_READ if had_all else selectors.EVENT_READ | selectors.EVENT_WRITE,
                connection,
            )

    def _close(self, connection: Connection) -> None:
        try:
            self._selector.unregister(connection.socket)
        except (KeyError, ValueError):
            return
        connection.socket.close()


def main() -> None:
    server = Server()
    print(server.port, flush=True)
    threading.Thread(target=server.serve, daemon=True).start()
    sys.stdin.read()


if __name__ == "__main__":
    main()
