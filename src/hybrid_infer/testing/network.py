"""No real request can leave a test: every connection and name resolution of the process is an error.

It listens to Python's audit events (PEP 578), so it sees what any library does with the `socket` module, in
any thread. Where CPython resolves a name before it tells (connect, sendto, gethostbyname_ex), the methods are
replaced while a block is on. It does not see other processes, nor code that calls the operating system by
itself: uvloop, gRPC, and asyncio on Windows where it is given an address instead of a name.
"""

from __future__ import annotations

import functools
import inspect
import ipaddress
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Self, TypeVar, cast

from hybrid_infer.errors import UsageError

F = TypeVar("F", bound=Callable[..., Any])

_INTERNET = (socket.AF_INET, socket.AF_INET6)
_LOCALHOST = ("127.0.0.1", "::1")


class NetworkBlockedError(UsageError):
    """A test wanted to leave the process while `block_network` was on.

    It is no `OSError`: no library takes it for a network that is down, and tries again.
    """


class NetworkBlock:
    """What `block_network` returns: a context manager, and a decorator of functions, coroutine functions too.

    It may be entered again and again, also while it is on. What several of them do not all allow is blocked.

    Attributes:
        allow: the hosts that may be reached.
        attempts: what was blocked, e.g. ``"connect to api.together.ai:443"``, also where the error was
            swallowed.
    """

    def __init__(self, allow: Iterable[str]) -> None:
        self.allow = frozenset(host.strip("[]").lower() for host in allow)
        self.attempts: list[str] = []
        self._addresses: set[str] = set(_LOCALHOST) if "localhost" in self.allow else set()

    def __enter__(self) -> Self:
        _change(lambda active: (*active, self))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        def without(active: tuple[NetworkBlock, ...]) -> tuple[NetworkBlock, ...]:
            at = len(active) - 1 - active[::-1].index(self)
            return active[:at] + active[at + 1 :]

        _change(without)

    def __call__(self, function: F) -> F:
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def awaited(*args: Any, **kwargs: Any) -> Any:
                with self:
                    return await function(*args, **kwargs)

            return cast("F", awaited)

        @functools.wraps(function)
        def called(*args: Any, **kwargs: Any) -> Any:
            with self:
                return function(*args, **kwargs)

        return cast("F", called)

    def permits(self, host: str) -> bool:
        """Whether this host, a name or an address, may be reached."""
        return host in self.allow or host in self._addresses

    def resolved(self, name: str) -> None:
        """An allowed name is about to be resolved: what it stands for may be reached, too."""
        for entry in socket.getaddrinfo(name, None):
            self._addresses.add(str(entry[4][0]))


def block_network(*, allow: str | Iterable[str] = ()) -> NetworkBlock:
    """While it is on, no connection is made, no datagram sent and no name resolved.

    Unix sockets stay allowed, and so do listening and accepting. Other processes are not its matter.

        with block_network():
            ...

        @block_network(allow="127.0.0.1")
        def test_against_a_server_of_my_own() -> None: ...

    Args:
        allow: hosts that may be reached all the same, as names or addresses.

    Raises:
        NetworkBlockedError: where something tries, at that very call.
    """
    return NetworkBlock((allow,) if isinstance(allow, str) else allow)


_lock = threading.Lock()
_active: tuple[NetworkBlock, ...] = ()
_watching = False
_resolving = threading.local()


def _change(change: Callable[[tuple[NetworkBlock, ...]], tuple[NetworkBlock, ...]]) -> None:
    """Audit hooks cannot be taken away again, so there is one, from the first use on, which may be idle."""
    global _active, _watching
    with _lock:
        before, _active = _active, change(_active)
        if not _watching:
            _watching = True
            sys.addaudithook(_audited)
        if not before:
            _replace()
        elif not _active:
            _restore()


_replaced: list[tuple[Any, str, Any]] = []


def _replace() -> None:
    """Look at names before CPython resolves them."""
    for owner, name, event in (
        (socket.socket, "connect", "socket.connect"),
        (socket.socket, "connect_ex", "socket.connect"),
        (socket.socket, "sendto", "socket.sendto"),
        (socket.socket, "sendmsg", "socket.sendmsg"),
        (socket, "gethostbyname_ex", "socket.gethostbyname"),
    ):
        mine = _looking_first(getattr(owner, name), event)
        _replaced.append((owner, name, vars(owner).get(name)))
        setattr(owner, name, mine)


def _restore() -> None:
    while _replaced:
        owner, name, original = _replaced.pop()
        if original is None:
            delattr(owner, name)
        else:
            setattr(owner, name, original)


def _looking_first(original: Callable[..., Any], event: str) -> Callable[..., Any]:
    @functools.wraps(original)
    def looking(*args: Any) -> Any:
        if _active:
            sent = event in ("socket.sendto", "socket.sendmsg")
            _CHECKS[event]((args[0], args[-1]) if sent else args)
        return original(*args)

    return looking


def _audited(event: str, args: tuple[Any, ...]) -> None:
    if _active and event in _CHECKS:
        _CHECKS[event](args)


def _check_connect(args: tuple[Any, ...]) -> None:
    sock, address = args[0], args[1]
    if sock.family in _INTERNET and isinstance(address, tuple):
        host, port = cast("tuple[Any, Any]", address[:2])
        try:
            _check(_text(host), f"connect to {_place(host, port)}")
        except NetworkBlockedError:
            sock.close()  # callers close what fails with OSError, and this is none
            raise


def _check_send(args: tuple[Any, ...]) -> None:
    sock, address = args[0], args[1]
    if address is not None and sock.family in _INTERNET and isinstance(address, tuple):
        host, port = cast("tuple[Any, Any]", address[:2])
        _check(_text(host), f"send a datagram to {_place(host, port)}")


def _check_name(args: tuple[Any, ...]) -> None:
    host = _text(args[0])
    # What needs no name server: nothing leaves, and a connection that follows is looked at by itself.
    if host and not _is_address(host):
        _check(host, f"resolve {host}")
        _remember(host)


def _check_address(args: tuple[Any, ...]) -> None:
    given: Any = args[0]
    host = _text(given[0] if type(given) is tuple else given)
    _check(host, f"resolve {host}")


_CHECKS: dict[str, Callable[[tuple[Any, ...]], None]] = {
    "socket.connect": _check_connect,
    "socket.sendto": _check_send,
    "socket.sendmsg": _check_send,
    "socket.getaddrinfo": _check_name,
    "socket.gethostbyname": _check_name,
    "socket.gethostbyaddr": _check_address,
    "socket.getnameinfo": _check_address,
}


def _check(host: str, deed: str) -> None:
    blocking = [block for block in _active if not block.permits(host)]
    if not blocking or getattr(_resolving, "on", False):
        return
    for block in blocking:
        block.attempts.append(deed)
    raise NetworkBlockedError(
        f"a test tried to {deed}, and block_network() is on: use the simulator "
        f"(HYBRID_INFER_SIMULATE=1), or allow this host with block_network(allow={host!r})"
    )


def _remember(host: str) -> None:
    """The addresses of a name that all allow."""
    if getattr(_resolving, "on", False):
        return
    _resolving.on = True
    try:
        for block in _active:
            block.resolved(host)
    except OSError:
        pass  # the caller will find out
    finally:
        _resolving.on = False


def _text(host: Any) -> str:
    text = os.fsdecode(bytes(host)) if isinstance(host, bytes | bytearray) else str(host or "")
    return text.lower()


def _place(host: Any, port: Any) -> str:
    text = _text(host)
    return f"[{text}]:{port}" if ":" in text else f"{text}:{port}"


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True
