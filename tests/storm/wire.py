"""A server on raw sockets that answers each question in its own words, as fast as hundreds of clients ask."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from fakes import DONE, USAGE, completion, delta

STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
LAST = b"0\r\n\r\n"

LEAVES = "(and leaves)"
"""In the question of a client that does not stay for the whole answer: the server notices only later."""


@dataclass(slots=True)
class Asked:
    """One request, and the connection that waits for its answer."""

    body: Any
    number: int
    writer: asyncio.StreamWriter
    reader: asyncio.StreamReader

    @property
    def question(self) -> str:
        text: str = self.body["messages"][0]["content"]
        return text

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self, body: Any, status: str = "200 OK", *headers: str) -> None:
        raw = json.dumps(body).encode()
        lines = [f"HTTP/1.1 {status}", "content-type: application/json", *headers]
        await self.send("\r\n".join([*lines, f"content-length: {len(raw)}", "", ""]).encode() + raw)

    async def silence(self) -> None:
        """Say nothing until the client has gone."""
        await self.reader.read()

    def reset(self) -> None:
        """End the connection with RST."""
        sock: socket.socket = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


Act = Callable[[Asked], Coroutine[Any, Any, bool]]
"""Answers a request; True keeps the connection for the next one."""


def chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


async def echo(asked: Asked) -> bool:
    """Answer at once: `re: ` and the question, whole or as a stream of its words."""
    if not asked.body.get("stream"):
        await asked.answer(completion(f"re: {asked.question}"))
        return True
    await asked.send(STREAM)
    for word in f"re: {asked.question}".split(" "):
        await asked.send(chunk(delta(word + " ")))
        await asyncio.sleep(0)
    await asked.send(chunk(delta(finish="stop", usage=USAGE)) + chunk(DONE) + LAST)
    return True


@dataclass(slots=True)
class Traffic:
    """What a server saw: requests, and those inside at a time, without those whose client leaves early."""

    requests: int = 0
    inside: int = 0
    most: int = 0


class EchoServer:
    """Listens on 127.0.0.1, in a loop and a thread of its own, and does `act` for each request."""

    def __init__(self, act: Act = echo) -> None:
        self.traffic = Traffic()
        self.act = act
        self._open: set[asyncio.Task[None]] = set()
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="echo server")
        self._thread.start()
        assert self._ready.wait(10)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def open(self) -> int:
        """Connections that are open."""
        return len(self._open)

    def is_empty(self) -> bool:
        """Whether nobody is inside. A client has its answer a moment before the server is done with it."""
        return asyncio.run_coroutine_threadsafe(self._emptied(), self._loop).result(20)

    async def _emptied(self) -> bool:
        end = self._loop.time() + 10
        while self.traffic.inside and self._loop.time() < end:
            await asyncio.sleep(0.005)
        return self.traffic.inside == 0

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        loop = self._loop
        asyncio.set_event_loop(loop)
        server = loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=4096))
        self.port: int = server.sockets[0].getsockname()[1]
        self._ready.set()
        loop.run_forever()
        server.close()
        loop.run_until_complete(self._leave())
        loop.close()

    async def _leave(self) -> None:
        """End all connections, and let the loop see that they have ended."""
        tasks = list(self._open)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for _ in range(3):
            await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            while await self._one(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client hung up, or the test is over
        finally:
            self._open.discard(task)
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        size = int(head.partition("content-length:")[2].partition("\r\n")[0] or 0)
        traffic = self.traffic
        asked = Asked(json.loads(await reader.readexactly(size)), traffic.requests + 1, writer, reader)
        stays = LEAVES not in asked.question
        traffic.requests += 1
        traffic.inside += stays
        traffic.most = max(traffic.most, traffic.inside)
        try:
            return await self.act(asked)
        finally:
            traffic.inside -= stays
