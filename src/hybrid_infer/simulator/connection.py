"""One connection of a client to the simulator's HTTP door: HTTP/1.1 by h11, and what faults do to a socket.

A reset is a real RST, silence is true silence, a body that breaks off lacks its end on the wire.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import h11

from hybrid_infer.calls.call import Mode
from hybrid_infer.simulator.exchange import Broken, Exchange, Headers, Request, Step
from hybrid_infer.simulator.refusals import http_date
from hybrid_infer.simulator.world import Provider, World

MODAL = "/modal"
"""What stands before the paths of the Modal server; what has nothing before it is Together's."""

ENGINE = "/engine"
"""What stands before the paths of an engine without credentials, cold start or bill."""

_PIECE = 65_536
_HANDOVER = 0.02
"""Seconds for the kernel to hand over what was written, before a reset wipes what was not."""
_NO_LINGER = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """An answer that is there at once."""

    status: int
    headers: Headers
    body: bytes


class Control(Protocol):
    """Answers what is asked of the simulator itself; None for what belongs to the providers."""

    def __call__(self, request: Request) -> Whole | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """What all connections of one server share.

    Attributes:
        now: the carrier's time of the world, in simulated seconds.
        speed: simulated seconds per second.
        closing: whether no further request is wanted on a connection.
    """

    world: World
    now: Callable[[], float]
    speed: float
    control: Control
    closing: Callable[[], bool]


class ClientGoneError(Exception):
    """The client closed the connection, or what it sends is not HTTP."""


class Connection:
    """Serves requests one after the other, until either side has enough.

    Attributes:
        busy: a request is being answered.
    """

    def __init__(self, wire: Wire, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.busy = False
        self._wire = wire
        self._reader = reader
        self._writer = writer
        self._http = h11.Connection(h11.SERVER)
        self._out: list[bytes] = []

    async def serve(self) -> None:
        """Until the connection is over."""
        try:
            while request := await self._request():
                self.busy = True
                await self._answer(request)
                self.busy = False
                if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
                    return
                if self._wire.closing():
                    return
                self._http.start_next_cycle()
        except (ClientGoneError, ConnectionError):
            pass
        finally:
            self.busy = False
            self._writer.close()
            try:
                await self._writer.wait_closed()
            except ConnectionError:
                pass

    def close(self) -> None:
        """End it at once if it is idle."""
        if not self.busy:
            self._writer.close()

    def abort(self) -> None:
        """End it at once."""
        self._writer.transport.abort()

    async def _request(self) -> Request | None:
        """The next request, whole; None when there is none."""
        head: h11.Request | None = None
        body: list[bytes] = []
        while True:
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError as error:
                await self._refuse(error)
                raise ClientGoneError from None
            if event is h11.NEED_DATA:
                if self._http.they_are_waiting_for_100_continue:
                    self._put(h11.InformationalResponse(status_code=100, headers=[]))
                    await self._flush()
                data = await self._reader.read(_PIECE)
                if not data and head is None:
                    return None
                self._http.receive_data(data)
            elif isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body.append(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage) and head is not None:
                return _plain(head, b"".join(body))
            else:
                return None

    async def _answer(self, request: Request) -> None:
        wire = self._wire
        whole = wire.control(request)
        if whole is not None:
            self._head(whole.status, (*whole.headers, ("content-length", str(len(whole.body)))))
            self._body(request, whole.body)
            self._put(h11.EndOfMessage())
            await self._flush()
            return
        provider: Provider = "modal" if request.path.startswith(f"{MODAL}/") else "together"
        plain = request.path.startswith(f"{ENGINE}/")
        if plain or provider == "modal":
            path = request.path.removeprefix(ENGINE if plain else MODAL)
            request = Request(method=request.method, path=path, headers=request.headers, body=request.body)
        mode: Mode | None = "openai-compatible" if plain else None
        exchange = wire.world.receive(provider, request, wire.now(), mode=mode)
        gone = asyncio.create_task(self._gone())
        try:
            await self._follow(request, exchange, gone)
        finally:
            gone.cancel()
            exchange.cancel(wire.now())
            await asyncio.wait((gone,))
            if not gone.cancelled():
                gone.exception()  # that the connection broke is known

    async def _follow(self, request: Request, exchange: Exchange, gone: asyncio.Task[None]) -> None:
        """Send what the exchange gives, when it gives it."""
        wire = self._wire
        head_sent = False
        while True:
            step = exchange.poll(wire.now())
            if step.broken is not None:
                await self._break(step.broken)
                raise ClientGoneError
            if step.status is not None and not head_sent:
                head_sent = True
                self._head(step.status, _with_length(step))
            self._body(request, b"".join(step.pieces))
            if step.done:
                self._put(h11.EndOfMessage())
            await self._flush()
            if step.done:
                return
            pause = None if step.wake is None else max(0.0, step.wake - wire.now()) / wire.speed
            await asyncio.wait((gone,), timeout=pause)
            if gone.done():
                raise ClientGoneError

    async def _gone(self) -> None:
        """Returns when the client has gone. What it sends ahead of time is kept for the next request."""
        while data := await self._reader.read(_PIECE):
            self._http.receive_data(data)

    def _head(self, status: int, headers: Headers) -> None:
        if not any(name == "date" for name, _ in headers):
            headers = (("date", http_date(self._wire.world.wall(self._wire.now()))), *headers)
        if self._wire.closing():
            headers = (*headers, ("connection", "close"))
        raw = [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in headers]
        self._put(h11.Response(status_code=status, headers=raw))

    def _body(self, request: Request, data: bytes) -> None:
        if data and request.method != "HEAD":
            self._put(h11.Data(data=data))

    def _put(self, event: h11.Event) -> None:
        self._out.append(self._http.send(event) or b"")

    async def _flush(self) -> None:
        """Send what was put, in one piece."""
        out, self._out = b"".join(self._out), []
        if out:
            self._writer.write(out)
            await self._writer.drain()

    async def _break(self, how: Broken) -> None:
        """End the connection the wrong way. What was refused is reset: it has been accepted already."""
        if how == "cut":
            return  # the end of the body, by chunk or by length, does not come before the close
        await asyncio.sleep(_HANDOVER)
        raw: socket.socket = self._writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self._writer.transport.abort()

    async def _refuse(self, error: h11.RemoteProtocolError) -> None:
        if self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = f"{error}\n".encode()
            headers = (("content-type", "text/plain"), ("content-length", str(len(body))))
            self._head(error.error_status_hint, (*headers, ("connection", "close")))
            self._put(h11.Data(data=body))
            self._put(h11.EndOfMessage())
            await self._flush()


def _plain(head: h11.Request, body: bytes) -> Request:
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers}
    return Request(
        method=head.method.decode("ascii"), path=head.target.decode("latin-1"), headers=headers, body=body
    )


def _with_length(step: Step) -> Headers:
    """The headers, with the length of a body that is complete and no stream."""
    known = any(name == "content-length" or "text/event-stream" in value for name, value in step.headers)
    if known or not step.done:
        return step.headers
    return (*step.headers, ("content-length", str(sum(map(len, step.pieces)))))
