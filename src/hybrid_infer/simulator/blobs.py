"""A store of big arguments and results, behind just enough HTTP: PUT and GET of ``/<id>``."""

from __future__ import annotations

import asyncio
import hashlib
from itertools import count

_LONGEST_HEAD = 65_536


class Blobs:
    """Blobs by id. `start` and `stop` belong to the loop of the door."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._numbers = count(1)
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self.held: dict[str, bytes] = {}
        self.port = 0

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, self._host, 0, limit=_LONGEST_HEAD)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for writer in tuple(self._writers):
            writer.close()

    def new_id(self) -> str:
        return f"bl-{next(self._numbers):08d}"

    def keep(self, data: bytes) -> str:
        """Keep a result; its id."""
        id = self.new_id()
        self.held[id] = data
        return id

    def url(self, id: str) -> str:
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self.port}/{id}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while await self._one(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
            pass  # whoever it was went away, or speaks something else
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, path, _ = head[0].split(" ", 2)
        fields = {
            name.strip().lower(): value.strip() for name, _, value in (row.partition(":") for row in head)
        }
        if "100-continue" in fields.get("expect", ""):
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = await reader.readexactly(int(fields.get("content-length") or 0))
        id = path.lstrip("/")
        if method == "PUT":
            self.held[id] = body
            tag = hashlib.md5(body, usedforsecurity=False).hexdigest()
            writer.write(f'HTTP/1.1 200 OK\r\netag: "{tag}"\r\ncontent-length: 0\r\n\r\n'.encode())
        elif id in self.held:
            data = self.held[id]
            writer.write(f"HTTP/1.1 200 OK\r\ncontent-length: {len(data)}\r\n\r\n".encode() + data)
        else:
            writer.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
        await writer.drain()
        return True
