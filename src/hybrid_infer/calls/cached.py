"""What is kept of answers that may be given again, and what a call may say about that."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from hybrid_infer.calls.call import Mode, Target
    from hybrid_infer.calls.reply import Reply

CacheUse = Literal["off", "miss", "hit", "shared", "stale"]
"""What a cache nearer by did for a call.

``off``: nothing was looked for. ``miss``: the provider answered. ``hit``: a stored answer. ``shared``: the
answer of an identical call that was in flight. ``stale``: a stored answer past its time, during an outage.
"""

CacheMode = Literal["both", "read", "write", "refresh"]
"""``both`` looks and stores. ``read`` stores nothing. ``write`` stores without looking. ``refresh`` asks anew
and replaces what is stored, which serves only where the provider is out and stale answers are allowed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CachePolicy:
    """How one call uses the cache. To give one allows requests whose answers differ from time to time, too.

    Attributes:
        ttl: seconds for which the answer may be given again; None is the setting `cache_ttl`.
        max_age: seconds; an older answer is not taken. None takes any that is not past its time.
        mode: see `CacheMode`.
    """

    ttl: float | None = None
    max_age: float | None = None
    mode: CacheMode = "both"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A stored answer. Times are seconds since 1970 (UTC).

    Attributes:
        value: made and read by `layers.cache`, opaque to stores.
        stored: when.
        expires: when it is past its time; None is never. A store may drop any entry before.
        target, operation: who gave it, and to what: for statistics, never content.
        saved_nano: what giving it again saves, in nano-dollars; None is unknown.
    """

    value: bytes
    stored: float
    expires: float | None
    target: str
    operation: str
    saved_nano: int | None


@dataclass(slots=True, kw_only=True)
class Served:
    """Whose answer a call got that was not asked for on its behalf.

    Attributes:
        mode, target: who gave it then.
        like: the candidate in whose place it stands: what it would have cost is known from there.
    """

    mode: Mode
    target: str
    like: Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharing:
    """What the cache tells of a call that may share its answer with identical ones in flight.

    Attributes:
        key: what they have in common.
        looked: `Runtime.now()` before the cache was looked into.
        again: looks once more, for an answer that was stored since; None where there is none.
        fill: stores the answer of a reply that has ended.
    """

    key: bytes
    looked: float
    again: Callable[[], Coroutine[Any, Any, Reply | None]]
    fill: Callable[[Reply], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """How the answers to one operation are kept and given again. Values and events are pydantic models.

    Attributes:
        repeats: whether a request, as it stands in its body, is answered the same each time.
        whole: whether an answer is complete, and was not cut short.
        same_in_stream: whether a stream of this request adds up to all that a complete answer would hold.
        read: an answer from its JSON.
        events: an answer as the events of a stream.
    """

    repeats: Callable[[Mapping[str, Any]], bool]
    whole: Callable[[Any], bool]
    same_in_stream: Callable[[Mapping[str, Any]], bool]
    read: Callable[[bytes], Any]
    events: Callable[[Any], Sequence[Any]]
