"""What every backend stands on: addresses, credentials, header checks."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeGuard
from urllib.parse import urlsplit

from hybrid_infer.errors import ConfigurationError, InvalidCallError
from hybrid_infer.transport.base import Origin
from hybrid_infer.version import VERSION

Secret: TypeAlias = str | Callable[[], str]
"""A function is asked anew for every request, so that a credential may change while the client lives."""

HeaderPairs: TypeAlias = tuple[tuple[str, str], ...]

USER_AGENT = f"hybrid-infer/{VERSION}"

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")
_VALUE = re.compile(r"[\t\x20-\x7e]*")
_SECRET = re.compile(r"[\x21-\x7e]+")
_FRAMING = frozenset({"connection", "content-length", "host", "transfer-encoding"})
_SHORTEST_SECRET = 4
_REMEMBERED = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a backend sends to. `prefix` stands before ``/v1/…``: empty, or a path without a last slash."""

    origin: Origin
    prefix: str


def address_of(base_url: str) -> Address:
    """Read a base URL, with or without ``/v1`` and a trailing slash.

    Raises:
        ConfigurationError: it is not an http(s) address, or holds credentials, a query or a fragment.
    """
    try:
        parts = urlsplit(base_url.strip())
        scheme, host, port = parts.scheme, parts.hostname, parts.port
    except ValueError as error:
        raise ConfigurationError(f"the base URL cannot be read: {error}") from None
    if parts.username is not None or parts.password is not None:
        raise ConfigurationError(
            f"the base URL of {host} holds a user or password: use the settings for that"
        )
    if scheme not in ("http", "https") or not host:
        raise ConfigurationError(f"the base URL {base_url!r} is not an address like https://host/path")
    if parts.query or parts.fragment:
        raise ConfigurationError(f"the base URL of {host} holds a query or a fragment: leave it out")
    if not _SECRET.fullmatch(parts.netloc + parts.path):
        raise ConfigurationError(f"the base URL {base_url!r} holds characters that must be percent-encoded")
    prefix = parts.path.rstrip("/").removesuffix("/v1").rstrip("/")
    origin = Origin(scheme=scheme, host=host, port=port or {"http": 80, "https": 443}[scheme])
    return Address(origin=origin, prefix=prefix)


class Credentials:
    """Header pairs made from secrets, and the removal of those secrets from text.

    Args:
        secrets: where the values come from.
        write: the header pairs for the values, in the order of `secrets`.
    """

    __slots__ = ("_cached", "_fixed", "_joined", "_secrets", "_seen", "_write")

    def __init__(self, *secrets: Secret, write: Callable[..., HeaderPairs]) -> None:
        self._secrets = secrets
        self._write = write
        self._fixed = all(isinstance(secret, str) for secret in secrets)
        self._cached: tuple[tuple[str, ...], HeaderPairs] | None = None
        self._seen: tuple[str, ...] = ()
        self._joined: dict[int, tuple[HeaderPairs, HeaderPairs]] = {}

    def __repr__(self) -> str:
        return f"Credentials({len(self._secrets)} hidden)"

    def headers(self) -> HeaderPairs:
        """The pairs for the secrets as they are now.

        Raises:
            ConfigurationError: a secret is empty or cannot stand in a header.
        """
        cached = self._cached
        if cached is not None and self._fixed:
            return cached[1]
        values = tuple([secret if isinstance(secret, str) else secret() for secret in self._secrets])
        if cached is not None and cached[0] == values:
            return cached[1]
        if not all(_SECRET.fullmatch(value) for value in values):
            raise ConfigurationError(
                "a credential is empty or holds a space, a line break or a character outside ASCII"
            )
        pairs = self._write(*values)
        for value in values:
            self.remember(value)
        self._cached = values, pairs
        return pairs

    def after(self, others: HeaderPairs) -> HeaderPairs:
        """`others`, which live as long as this, and the pairs for the secrets.

        It is the same object as long as the secrets are the same, so that who writes it may know it again.
        """
        pairs = self.headers()
        known = self._joined.get(id(others))
        if known is None or known[0] is not pairs:
            known = self._joined[id(others)] = pairs, (*others, *pairs)
        return known[1]

    def remember(self, header_value: str) -> None:
        """Take a credential of the caller's own into `redact`."""
        for value in {header_value, header_value.rpartition(" ")[2]} - set(self._seen):
            if len(value) >= _SHORTEST_SECRET:
                self._seen = (*self._seen[1 - _REMEMBERED :], value)

    def redact(self, text: str) -> str:
        """The text without any credential sent lately: providers echo what they were sent."""
        for value in sorted(self._seen, key=len, reverse=True):
            text = text.replace(value, "***")
        return text


def bearer(token: str) -> HeaderPairs:
    return (("authorization", f"Bearer {token}"),)


def no_credentials() -> HeaderPairs:
    return ()


def checked_value(what: str, value: str) -> str:
    """A header value that does not break out of its line.

    Raises:
        InvalidCallError: it holds a line break, another control character or one outside ASCII.
    """
    if not _VALUE.fullmatch(value):
        raise InvalidCallError(f"{what}: a header value is one line of ASCII characters")
    return value


def checked_headers(extra: Mapping[str, str]) -> dict[str, str]:
    """The caller's own headers with names in lower case.

    Raises:
        InvalidCallError: a name or value is not one, or the header belongs to the connection.
    """
    checked: dict[str, str] = {}
    for name, value in extra.items():
        key = name.lower()
        if not _NAME.fullmatch(key):
            raise InvalidCallError(f"extra_headers: {name!r} is not the name of a header")
        if key in _FRAMING:
            raise InvalidCallError(f"extra_headers: {key} is set by the connection; leave it out")
        checked[key] = checked_value(f"extra_headers[{name!r}]", value)
    return checked


def is_object(value: Any) -> TypeGuard[Mapping[str, Any]]:
    """Whether a value is what JSON calls an object."""
    return isinstance(value, Mapping)


def is_array(value: Any) -> TypeGuard[Sequence[Any]]:
    """Whether a value is what JSON calls an array."""
    return isinstance(value, list | tuple)
