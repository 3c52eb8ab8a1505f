"""A server on loopback, in a process of its own, that answers every request at once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

SERVER = """
import json, socket, threading

body = json.dumps({
    "id": "x", "object": "chat.completion", "created": 1786077872, "model": "m",
    "choices": [
        {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "a" * 1700}}
    ],
    "usage": {"prompt_tokens": 250, "completion_tokens": 400, "total_tokens": 650},
}).encode()
head = b"HTTP/1.1 200 OK\\r\\ncontent-type: application/json\\r\\ncontent-length: %d\\r\\n\\r\\n"
answer = head % len(body) + body
listening = socket.create_server(("127.0.0.1", 0))
print(listening.getsockname()[1], flush=True)

def serve(connection):
    got = b""
    while piece := connection.recv(65536):
        got += piece
        if b"\\r\\n\\r\\n" in got and got.endswith(b"}"):
            got = b""
            connection.sendall(answer)

while True:
    threading.Thread(target=serve, args=(listening.accept()[0],), daemon=True).start()
"""


@contextmanager
def served() -> Iterator[str]:
    """Its address."""
    server = subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE)
    try:
        assert server.stdout is not None
        yield f"http://127.0.0.1:{int(server.stdout.readline())}"
    finally:
        server.kill()
        server.wait()
