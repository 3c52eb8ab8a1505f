"""`block_network`: no real request can leave a test."""

from __future__ import annotations

import asyncio
import http.client
import socket
import threading
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from hybrid_infer.errors import HybridInferError
from hybrid_infer.testing import NetworkBlockedError, block_network

NAME = "api.example.invalid"


@pytest.fixture
def port() -> Iterator[int]:
    """Of a server on this machine that would answer."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


async def by_name(port: int) -> Any:
    return await asyncio.get_running_loop().create_connection(asyncio.Protocol, NAME, port)


async def by_address(port: int) -> Any:
    return await asyncio.get_running_loop().create_connection(asyncio.Protocol, "127.0.0.1", port)


async def by_socket(port: int) -> None:
    with socket.socket() as own:
        own.setblocking(False)
        await asyncio.get_running_loop().sock_connect(own, ("127.0.0.1", port))


async def by_httpx(port: int) -> Any:
    """Through anyio, which tries addresses in a group of tasks."""
    async with httpx.AsyncClient(trust_env=False) as client:
        try:
            return await client.get(f"http://127.0.0.1:{port}")
        except BaseExceptionGroup as group:
            (error,) = group.exceptions
    raise error


def with_socket(use: Callable[[socket.socket], Any], kind: int = socket.SOCK_STREAM) -> Any:
    with socket.socket(socket.AF_INET, kind) as own:
        return use(own)


def connect_ipv6(port: int) -> None:
    with socket.socket(socket.AF_INET6) as own:
        own.connect(("::1", port))


WAYS: dict[str, Callable[[int], Any]] = {
    "connect": lambda port: with_socket(lambda own: own.connect(("127.0.0.1", port))),
    "connect_ex": lambda port: with_socket(lambda own: own.connect_ex(("127.0.0.1", port))),
    "connect to a name": lambda port: with_socket(lambda own: own.connect((NAME, port))),
    "create_connection": lambda port: socket.create_connection(("127.0.0.1", port)),
    "datagram": lambda port: with_socket(lambda o: o.sendto(b"x", ("127.0.0.1", port)), socket.SOCK_DGRAM),
    "sendmsg": lambda port: with_socket(
        lambda own: own.sendmsg([b"x"], [], 0, ("127.0.0.1", port)), socket.SOCK_DGRAM
    ),
    "getaddrinfo": lambda port: socket.getaddrinfo(NAME, port),
    "getaddrinfo of bytes": lambda port: socket.getaddrinfo(NAME.encode(), port),
    "gethostbyname": lambda port: socket.gethostbyname(NAME),
    "gethostbyname_ex": lambda port: socket.gethostbyname_ex(NAME),
    "gethostbyaddr": lambda port: socket.gethostbyaddr("127.0.0.1"),
    "getnameinfo": lambda port: socket.getnameinfo(("127.0.0.1", port), 0),
    "IPv6": connect_ipv6,
    "urllib": lambda port: urllib.request.urlopen(f"http://127.0.0.1:{port}"),
    "http.client": lambda port: http.client.HTTPConnection("127.0.0.1", port).connect(),
    "httpx": lambda port: httpx.get(f"http://127.0.0.1:{port}", trust_env=False),
    "httpx async": lambda port: asyncio.run(by_httpx(port)),
    "a loop by name": lambda port: asyncio.run(by_name(port)),
    "a loop by address": lambda port: asyncio.run(by_address(port)),
    "a loop's sock_connect": lambda port: asyncio.run(by_socket(port)),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_out_is_one_clear_error(way: str, port: int) -> None:
    with block_network() as block, pytest.raises(NetworkBlockedError) as caught:
        WAYS[way](port)
    said = str(caught.value)
    assert any(place in said for place in (f"127.0.0.1:{port}", f"[::1]:{port}", NAME, "resolve 127.0.0.1"))
    assert "block_network(allow=" in said
    assert len(block.attempts) == 1 and block.attempts[0] in said


def test_the_error_is_of_our_tree_and_no_network_error() -> None:
    """A library that takes it for a network that is down would try again."""
    assert issubclass(NetworkBlockedError, HybridInferError)
    assert not issubclass(NetworkBlockedError, OSError)


def test_afterwards_everything_is_as_before(port: int) -> None:
    with block_network():
        pass
    socket.create_connection(("127.0.0.1", port)).close()


def test_what_is_allowed_may_be_reached(port: int) -> None:
    with block_network(allow="127.0.0.1") as block:
        socket.create_connection(("127.0.0.1", port)).close()
        with pytest.raises(NetworkBlockedError):
            socket.create_connection(("10.0.0.1", port))
    assert block.attempts == [f"connect to 10.0.0.1:{port}"]


def test_an_allowed_name_may_be_resolved_and_what_it_stands_for_reached(port: int) -> None:
    with block_network(allow=("localhost",)):
        socket.create_connection(("localhost", port)).close()
        socket.create_connection(("127.0.0.1", port)).close()


def test_unix_sockets_and_listening_stay_allowed() -> None:
    with block_network():
        one, two = socket.socketpair()
        with one, two, socket.create_server(("127.0.0.1", 0)):
            one.send(b"x")
            assert two.recv(1) == b"x"


def test_of_several_blocks_all_must_allow(port: int) -> None:
    outer, inner = block_network(), block_network(allow="127.0.0.1")
    with outer, inner, pytest.raises(NetworkBlockedError):
        socket.create_connection(("127.0.0.1", port))
    assert (len(outer.attempts), inner.attempts) == (1, [])
    with inner:
        with inner, outer:
            pass
        socket.create_connection(("127.0.0.1", port)).close()


def test_blocks_may_end_in_any_order(port: int) -> None:
    one, two = block_network(), block_network()
    one.__enter__()
    two.__enter__()
    one.__exit__(None, None, None)
    with pytest.raises(NetworkBlockedError):
        socket.create_connection(("127.0.0.1", port))
    two.__exit__(None, None, None)
    socket.create_connection(("127.0.0.1", port)).close()


def test_other_threads_are_blocked_too_and_swallowed_errors_are_kept(port: int) -> None:
    def swallow() -> None:
        try:
            socket.create_connection(("127.0.0.1", port))
        except Exception:
            pass

    with block_network() as block:
        threads = [threading.Thread(target=swallow) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert block.attempts == [f"connect to 127.0.0.1:{port}"] * 8


def test_it_decorates_functions(port: int) -> None:
    @block_network()
    def reach(host: str) -> None:
        socket.create_connection((host, port)).close()

    with pytest.raises(NetworkBlockedError):
        reach("127.0.0.1")
    assert reach.__name__ == "reach"
    socket.create_connection(("127.0.0.1", port)).close()


def test_it_decorates_coroutine_functions_for_as_long_as_they_run(port: int) -> None:
    @block_network()
    async def reach() -> None:
        await asyncio.sleep(0)
        await by_address(port)

    with pytest.raises(NetworkBlockedError):
        asyncio.run(reach())
