"""Request bodies for an event loop: what reads from a disk does so in a thread."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from hybrid_infer.transport.base import Body
from hybrid_infer.transport.bodies import Counted


class AsyncPieces:
    """A body as an async iterable. Each iteration reads it from its start; `close` it in the end.

    Attributes:
        failure: why it could not be read, which the library that sends it may say in words of its own.
    """

    def __init__(self, body: Body) -> None:
        self.failure: Exception | None = None
        self._body = body
        self._begun = False
        self._again = False
        self._reader: Counted | None = None
        self._working: asyncio.Future[bytes] | None = None

    async def begin(self) -> None:
        """Open it.

        Raises:
            UploadError: what it is made of is not there any more.
        """
        self.close()
        loop = asyncio.get_running_loop()
        opening = loop.run_in_executor(None, Counted, self._body)
        try:
            self._reader = await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_close_opened)
            raise

    def __aiter__(self) -> AsyncIterator[bytes]:
        self._again, self._begun = self._begun, True
        return self

    async def __anext__(self) -> bytes:
        try:
            piece = await self._next()
        except Exception as error:
            self.failure = error
            raise
        if piece is None:
            raise StopAsyncIteration
        return piece

    def close(self) -> None:
        """Runs in the loop. A thread that still reads goes first."""
        reader, self._reader = self._reader, None
        if reader is None:
            return
        working = self._working
        if working is None or working.done():
            reader.close()
        else:
            working.add_done_callback(lambda _: reader.close())

    async def _next(self) -> bytes | None:
        if self._again:
            self._again = False
            await self.begin()
        reader = self._reader
        if reader is None:
            return None
        reading = asyncio.get_running_loop().run_in_executor(None, reader.read)
        self._working = reading
        try:
            piece = await asyncio.shield(reading)
        except asyncio.CancelledError:
            reading.add_done_callback(_heard)
            raise
        if reader.ended:
            self.close()  # at once: aiohttp ends a connection whose answer comes before its request has ended
        return piece


def _close_opened(opening: asyncio.Future[Counted]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()


def _heard(reading: asyncio.Future[bytes]) -> None:
    """Nobody waits for it any more, and so nobody asks why it failed."""
    if not reading.cancelled():
        reading.exception()
