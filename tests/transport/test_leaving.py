"""Responses that are not read to their end: closed, left behind, collected."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import threading
import time
import warnings
from collections.abc import Callable

import pytest

from carriers import ASYNC, BLOCKING, OURS, Carrier, request, soon, whole
from hybrid_infer.errors import ClientClosedError
from hybrid_infer.runtime.step import step
from hybrid_infer.transport.base import TransportError, WireResponse
from hybrid_infer.transport.http import HttpTransport
from wire_server import CHUNKED, LAST, Peer, Seen, Server, answering, chunk, response

pytestmark = pytest.mark.real_time
Serve = Callable[..., Server]


def endless(peer: Peer, _: Seen) -> None:
    """Sends one piece and waits for the client to go."""
    peer.send(CHUNKED + chunk(b"first"))
    peer.gone(10)


async def ended(carrier: Carrier, server: Server) -> int:
    """The number of the next connection that the server saw end, within a second."""
    if carrier.kind in BLOCKING:
        return server.ended.get(timeout=1)
    return await asyncio.to_thread(server.ended.get, timeout=1)


async def begun(carrier: Carrier, server: Server) -> WireResponse:
    answer = await carrier.make().send(request(server.origin), until=soon())
    assert await answer.read(soon()) == b"first"
    return answer


async def test_closing_half_way_closes_the_connection(carrier: Carrier, serve: Serve) -> None:
    server = serve(endless)
    async with carrier:
        answer = await begun(carrier, server)
        await answer.aclose()
        await answer.aclose()
        assert await ended(carrier, server) == 1
        with pytest.raises(TransportError, match="closed from this side"):
            await answer.read(soon())


async def test_abandoning_closes_the_connection(carrier: Carrier, serve: Serve) -> None:
    server = serve(endless)
    async with carrier:
        answer = await begun(carrier, server)
        answer.abandon()
        answer.abandon()
        assert await ended(carrier, server) == 1


async def test_collection_closes_the_connection(carrier: Carrier, serve: Serve) -> None:
    """Also where the response is part of a cycle, and was begun or not."""
    server = serve(endless)
    async with carrier:
        transport = carrier.make()
        for read in (True, False):
            answer = await transport.send(request(server.origin), until=soon())
            if read:
                await answer.read(soon())
            cycle: list[object] = [answer]
            cycle.append(cycle)
            del answer, cycle
            gc.collect()
            await ended(carrier, server)
    assert server.connections == 2


async def test_abandoning_in_another_thread_closes_the_connection(carrier: Carrier, serve: Serve) -> None:
    server = serve(endless)
    async with carrier:
        answer = await begun(carrier, server)
        thread = threading.Thread(target=answer.abandon)
        thread.start()
        if carrier.kind in ASYNC:
            await asyncio.to_thread(thread.join)
        else:
            thread.join()
        assert await ended(carrier, server) == 1


async def test_closing_after_the_end_keeps_the_connection(carrier: Carrier, serve: Serve) -> None:
    server = serve(answering(CHUNKED + chunk(b"a") + LAST))
    async with carrier:
        transport = carrier.make()
        for _ in range(3):
            answer = await transport.send(request(server.origin), until=soon())
            assert await whole(answer) == b"a"
            await answer.aclose()
            answer.abandon()
    assert server.connections == 1


async def test_the_abandoned_leave_no_trace_in_the_pool(carrier: Carrier, serve: Serve) -> None:
    """With room for two connections, twenty are left behind one after the other."""
    server = serve(endless)
    async with carrier:
        transport = carrier.make(max_connections=2)
        for _ in range(20):
            answer = await transport.send(request(server.origin), until=soon())
            assert await answer.read(soon()) == b"first"
            answer.abandon()
            await ended(carrier, server)
    assert server.connections == 20


@pytest.mark.parametrize("kind", ["httpcore", *ASYNC], indirect=True)
async def test_who_waits_for_a_connection_gets_the_abandoned_ones_place(
    carrier: Carrier, serve: Serve
) -> None:
    """All but a user's own `httpx.Client`, whose pool hears of it with the next request."""
    server = serve(endless)
    async with carrier:
        transport = carrier.make(max_connections=1)
        held = [await transport.send(request(server.origin), until=soon())]

        async def work(index: int) -> bytes:
            if index == 0:
                held.pop().abandon()
                return b""
            answer = await transport.send(request(server.origin), until=soon())
            first = await answer.read(soon())
            await answer.aclose()
            return first

        assert await carrier.at_once(2, work) == [b"", b"first"]


@pytest.mark.parametrize("kind", OURS, indirect=True)
async def test_closing_the_transport_ends_its_responses(carrier: Carrier, serve: Serve) -> None:
    server = serve(endless)
    async with carrier:
        transport = carrier.make()
        answer = await transport.send(request(server.origin), until=soon())
        assert await answer.read(soon()) == b"first"
        await transport.aclose()
        assert await ended(carrier, server) == 1
        with pytest.raises(TransportError):
            await answer.read(soon())


@pytest.mark.parametrize("kind", ["httpcore", "aiohttp"], indirect=True)
async def test_closing_the_transport_sends_away_who_waits_for_a_connection(
    carrier: Carrier, serve: Serve
) -> None:
    server = serve(endless)
    async with carrier:
        transport = carrier.make(max_connections=1)
        held = await transport.send(request(server.origin), until=soon())

        async def work(index: int) -> str:
            if index == 0:
                await transport.aclose()
                return "closed"
            try:
                await transport.send(request(server.origin), until=soon())
            except (TransportError, ClientClosedError) as error:
                return type(error).__name__
            return "answered"

        async def last_first(index: int) -> str:
            return await work(4 - index)

        assert set(await carrier.at_once(5, last_first)) <= {"closed", "TransportError", "ClientClosedError"}
        await held.aclose()


@pytest.mark.parametrize("kind", ["httpcore"], indirect=True)
async def test_closing_the_transport_wakes_a_thread_that_waits(carrier: Carrier, serve: Serve) -> None:
    reading = threading.Event()

    def act(peer: Peer, _: Seen) -> None:
        reading.set()
        peer.gone(10)

    server = serve(act)
    errors: list[TransportError] = []

    def work() -> None:
        try:
            step(transport.send(request(server.origin), until=soon()))
        except TransportError as error:
            errors.append(error)

    async with carrier:
        transport = carrier.make()
        thread = threading.Thread(target=work)
        thread.start()
        assert reading.wait(5)
        await transport.aclose()
        thread.join(1)
        assert not thread.is_alive()
    assert [str(error) for error in errors] == ["the connection was closed from this side"]
    assert errors[0].sent


@pytest.mark.parametrize("kind", ["httpcore"], indirect=True)
async def test_abandoning_takes_no_lock(carrier: Carrier, serve: Serve) -> None:
    """A collection may come while this very thread holds the lock of the pool."""
    server = serve(endless)
    async with carrier:
        transport = carrier.make()
        assert isinstance(transport, HttpTransport)
        answer = await transport.send(request(server.origin), until=soon())
        await answer.read(soon())
        (pool,) = transport._pools._pools.values()
        with pool._optional_thread_lock:
            answer.abandon()
            del answer
            gc.collect()
        assert await ended(carrier, server) == 1
        await transport.send(request(server.origin), until=soon())
        assert len(pool.connections) == 1


@pytest.mark.parametrize("kind", ["httpcore"], indirect=True)
async def test_a_transport_that_is_dropped_closes_its_connections(carrier: Carrier, serve: Serve) -> None:
    server = serve(answering(response(b"a")))
    async with carrier:
        transport = Carrier(carrier.kind).make()
        await whole(await transport.send(request(server.origin), until=soon()))
        del transport
        gc.collect()
        assert await ended(carrier, server) == 1


@pytest.mark.parametrize("kind", ["aiohttp"], indirect=True)
async def test_an_async_transport_that_is_dropped_closes_its_connections(
    carrier: Carrier, serve: Serve
) -> None:
    server = serve(answering(response(b"a")))
    transport = Carrier(carrier.kind).make()
    await whole(await transport.send(request(server.origin), until=soon()))
    del transport
    gc.collect()
    assert await ended(carrier, server) == 1


def test_a_loop_that_is_gone_takes_its_connections_along(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing can close them any more. aiohttp says nothing of it, and the next loop gets new ones."""
    server = serve(endless)
    carrier = Carrier("aiohttp")
    answers: list[WireResponse] = []

    async def work() -> None:
        answers.append(await begun(carrier, server))

    with warnings.catch_warnings(record=True) as caught, caplog.at_level(logging.DEBUG, "asyncio"):
        warnings.simplefilter("always")
        asyncio.run(work())
        answers.clear()
        carrier._transports.clear()
        gc.collect()
    assert [str(each.message) for each in caught if "Unclosed" in str(each.message)] == []
    assert [record for record in caplog.records if record.levelno > logging.DEBUG] == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("kind", ["httpcore"], indirect=True)
async def test_a_forked_process_makes_its_own_connections(carrier: Carrier, serve: Serve) -> None:
    """Parent and child would read one another's answers."""
    server = serve(lambda peer, seen: (peer.send(response(seen.body)), True)[1])
    async with carrier:
        transport = carrier.make()
        await whole(await transport.send(request(server.origin, b"parent"), until=soon()))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            status = 1
            try:
                answer = await transport.send(request(server.origin, b"child"), until=time.monotonic() + 5)
                status = 0 if await whole(answer) == b"child" else 2
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        answer = await transport.send(request(server.origin, b"parent"), until=soon())
        assert await whole(answer) == b"parent"
    assert [(seen.connection, seen.body) for seen in server.seen] == [
        (1, b"parent"),
        (2, b"child"),
        (1, b"parent"),
    ]
