"""Which calls have the same answer: the key under which one is stored. Pure.

All that reaches the wire is in it, and who is asked, and with whose credential. Of two calls with one key the
provider would see the same request.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import pbkdf2_hmac, sha256
from typing import Any, cast

from pydantic_core import to_json

from hybrid_infer.calls.call import Call, Target

KEY_VERSION = 1
"""Rises whenever the same request gets another key, or stored values another form: nothing old is found."""

_SALT = b"hybrid_infer cache tenant 1"
_ROUNDS = 4096
"""Of PBKDF2. It is the same salt on all machines, so that they can share a store; the rounds make up for it
where a credential is short enough to be guessed. Once for each credential, some milliseconds."""
_REMEMBERED = 64

_CREDENTIALS = frozenset(
    {"authorization", "proxy-authorization", "cookie", "modal-key", "modal-secret", "x-api-key", "api-key"}
)
_TRACES = re.compile(
    r"traceparent|tracestate|baggage|b3|x-b3-.*|uber-trace-id|x-amzn-trace-id|x-cloud-trace-context"
    r"|x-datadog-.*|sentry-trace|x-request-id|x-correlation-id"
)

_PLAIN = (str, int, float, bool, type(None))


@dataclass(slots=True)
class _Head:
    """What stands before the request in the keys of a target, and what it was made of."""

    credential: Sequence[tuple[str, str]]
    model: str | None
    text: bytes


class Keys:
    """Makes keys.

    Args:
        namespace: who shares answers with whom; None keeps the answers of each credential apart.
    """

    def __init__(self, namespace: str | None = None) -> None:
        self._namespace = namespace
        self._heads: dict[Target, _Head] = {}
        self._digests: dict[bytes, str] = {}

    def of(self, call: Call, request: bytes) -> list[tuple[Target, bytes | None]]:
        """The key at each candidate. See `at`."""
        candidates = call.candidates
        if len(candidates) == 1:
            return [(candidates[0], self.at(call, candidates[0], request))]
        return [(target, self.at(call, target, request)) for target in candidates]

    def at(self, call: Call, target: Target, request: bytes) -> bytes | None:
        """The key of a call at one target: 32 bytes. None where nobody knows which model would answer.

        Args:
            request: see `request_of`.
        """
        if target.identity is None and target.model is None:
            return None
        credential = target.credential()
        head = self._heads.get(target)
        if head is None or head.model != target.model or head.credential != credential:
            if len(self._heads) >= _REMEMBERED:
                self._heads.clear()
            head = _Head(credential, target.model, self._head(target, credential))
            self._heads[target] = head
        own = b"" if call.extra_headers is None else self._own(call.extra_headers)
        return sha256(b"%d,%d %b%b%b" % (len(head.text), len(own), head.text, own, request)).digest()

    def _head(self, target: Target, credential: Sequence[tuple[str, str]]) -> bytes:
        """Who is asked, and whose answer it is."""
        who: list[str | None]
        if target.identity is not None:
            who = ["identity", target.identity]
        else:
            who = ["target", target.mode, target.place, target.model]
        if self._namespace is not None:
            whose = ["namespace", self._namespace]
        else:
            whose = ["credential", self._digest(dict(credential))]
        return to_json([KEY_VERSION, target.simulated, who, whose])

    def _own(self, headers: Mapping[str, str]) -> bytes:
        """A credential of the call's own tells it apart, whatever the namespace."""
        own = {name.lower(): value for name, value in headers.items() if name.lower() in _CREDENTIALS}
        return self._digest(own).encode() if own else b""

    def _digest(self, credentials: Mapping[str, str]) -> str:
        plain = to_json(sorted(credentials.items()))
        known = sha256(plain).digest()
        found = self._digests.get(known)
        if found is None:
            if len(self._digests) >= _REMEMBERED:
                self._digests.clear()
            found = self._digests[known] = pbkdf2_hmac("sha256", plain, _SALT, _ROUNDS).hex()
        return found


def request_of(call: Call) -> bytes | None:
    """The request, one and the same for all that is one to the provider; None where nobody can tell.

    That is where it cannot be sent at all, or holds an iterator, which can be read only once.

    It stands as it is encoded for the wire, its top-level fields in order. Left out are the model and the
    target, which are the target's part; `stream`, since a stream and a complete answer say the same;
    credentials, and headers that only tell of a trace.
    """
    body = {**call.body, **call.extra_body} if call.extra_body else call.body
    beside: list[Any] = [call.operation, call.session]
    if call.extra_headers:
        beside += sorted(
            (name.lower(), value)
            for name, value in call.extra_headers.items()
            if name.lower() not in _CREDENTIALS and not _TRACES.fullmatch(name.lower())
        )
    for value in body.values():
        if type(value) not in _PLAIN and _holds_an_iterator(value):
            return None
    try:
        names = sorted(body)
        if "stream" in body and body["stream"] == call.stream:
            names.remove("stream")
        # As the backends encode it: models in it leave out what nobody wrote.
        beside.append(body if names == list(body) else {name: body[name] for name in names})
        return to_json(beside, exclude_none=True)
    except (TypeError, ValueError):
        return None


def _holds_an_iterator(value: object) -> bool:
    inner: Iterable[object] = ()
    if isinstance(value, dict):
        inner = cast("dict[object, object]", value).values()
    elif isinstance(value, list | tuple):
        inner = cast("Sequence[object]", value)
    elif hasattr(value, "__next__"):
        return True
    for one in inner:  # noqa: SIM110  # a generator would take as long as all of the looking
        if type(one) not in _PLAIN and _holds_an_iterator(one):
            return True
    return False
