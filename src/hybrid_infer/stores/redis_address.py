"""The address of a Redis: checked before the first call, never shown whole, for it may hold a password."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from hybrid_infer.errors import ConfigurationError

SOCKET_TIMEOUT = 0.5
"""Seconds for connecting, for each answer, and for a connection to become free."""
MAX_CONNECTIONS = 32
"""Of one client; an operation holds one for the time of its round trip."""

AS_BYTES = {"NEVER_DECODE": True}
"""Option of redis-py's `execute_command`: answers come as bytes, whatever the address says of decoding."""

_WRONG = (
    "redis_url: not the address of a Redis (the value is not shown, it may hold a password): expected "
    "redis://, rediss:// or unix://, and in user, password and path %40 for @, %23 for #, %3F for ?; in user "
    "and password also %2F for / and %3A for :"
)


def open_pool(kind: Any, retry: Any, url: str) -> Any:
    """A pool of `kind`, redis-py's blocking or asyncio `BlockingConnectionPool`. Connects to nothing yet.

    Options of redis-py in the query of `url` count, and may set other time limits.

    Args:
        retry: an object of redis-py's `Retry` of the same colour that never repeats: a repeated operation
            would take twice, and wait twice.

    Raises:
        ConfigurationError: the address is none, or has an option that redis-py does not know.
    """
    try:
        parts = urlsplit(url)
        options: dict[str, Any] = {
            "max_connections": MAX_CONNECTIONS,
            "timeout": SOCKET_TIMEOUT,
            "socket_timeout": SOCKET_TIMEOUT,
            "retry": retry,
            "protocol": 2,
        }
        if parts.scheme != "unix":
            options |= {"socket_connect_timeout": SOCKET_TIMEOUT, "socket_keepalive": True}
        if parts.scheme == "rediss":
            options["ssl_check_hostname"] = True
        # An @ after the host belongs to a password that was cut in the wrong place.
        misread = parts.fragment or "@" in parts.path + parts.query
        pool = None if misread else kind.from_url(url, **options)
        if pool is not None:
            pool.connection_class(**pool.connection_kwargs)
    except Exception:
        # Its text may quote the password, and as a context it would travel with the error below.
        pool = None
    if pool is None:
        raise ConfigurationError(_WRONG)
    return pool


def place_of(pool: Any) -> str:
    """Where a pool leads, without credentials, e.g. ``"127.0.0.1:6379/0"``."""
    known = pool.connection_kwargs
    db = known.get("db") or 0
    if "path" in known:
        return f"{known['path']} (db {db})"
    return f"{known.get('host', 'localhost')}:{known.get('port', 6379)}/{db}"
