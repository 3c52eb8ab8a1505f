"""Shares: which calls go to another mode while a client is moved there step by step. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass
from hashlib import blake2b
from itertools import count

from hybrid_infer.calls.call import Call, Mode, ModeChoice, Tally, Target
from hybrid_infer.errors import APIError, BudgetExceededError

_GOLDEN = 0.6180339887498949
"""Its multiples, without what stands before the point, fill the line from 0 to 1 evenly, however many they
are, and never fall into step with calls that come in a pattern."""

KEPT = 100_000
"""Outcomes that are kept until somebody looks at them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one call of the client's own mode, while a share of them went to another.

    Attributes:
        moved: it was led to the other mode first.
        failed: it failed, or it was moved and somebody else had to answer it.
        seconds: to the first content of a stream, or to the end of an answer in one piece; None is unknown.
    """

    moved: bool
    failed: bool
    seconds: float | None


class Shares:
    """Decides which calls are moved, and counts what becomes of them.

    A call with a session goes by that alone, so that a session stays together, and one that has been moved is
    not moved back while the share grows. Other calls are dealt out evenly. Several threads may ask at once;
    no lock is taken, since calls may end in finalisers.

    Args:
        to: the mode that calls are moved to.
        share: how many of the calls, 0 to 1.
    """

    __slots__ = ("_count", "_flying", "_waiting", "outcomes", "share", "to")

    def __init__(self, to: ModeChoice, *, share: float = 0.0) -> None:
        self.to: ModeChoice = to
        self.share = share
        self._flying: dict[int, Mode] = {}
        self._waiting: dict[int, Tally] = {}
        self.outcomes: deque[Outcome] = deque(maxlen=KEPT)
        """Of calls that ended, the oldest first. Whoever looks takes them away."""
        self._count = count()

    def moves(self, call: Call) -> bool:
        """Whether this call is one of those that are moved."""
        if call.session is not None:
            return _place(call.session) < self.share
        return self.share >= 1.0 or next(self._count) * _GOLDEN % 1.0 < self.share

    def begin(self, tally: Tally, candidates: tuple[Target, ...], *, moved: bool) -> None:
        """A call sets out."""
        self._flying[id(tally)] = candidates[0].mode
        if moved:
            self._waiting[id(tally)] = tally

    def answered(self, tally: Tally) -> None:
        """There is an answer, or the first content of one."""
        self._waiting.pop(id(tally), None)

    def waiting(self, now: float) -> list[float]:
        """For how long each of the moved calls that have no answer yet has been waiting for it."""
        begun = (tally.started for tally in self._waiting.copy().values())
        return [now - started for started in begun if started > 0]

    def in_flight(self, modes: Collection[Mode]) -> int:
        """Calls that set out for one of these modes since this is used, and have not ended."""
        return sum(mode in modes for mode in self._flying.copy().values())

    def end(
        self,
        tally: Tally,
        moved: tuple[Target, ...],
        *,
        follows: bool,
        error: BaseException | None,
        first_token: float | None = None,
        given_up: bool = False,
    ) -> None:
        """A call has ended. From finalisers, too.

        Args:
            moved: the targets it was led to; none where it stayed.
            follows: it goes where the client's mode is; of others nothing is counted.
            first_token: `Runtime.now()` of the first piece of a stream.
            given_up: the caller did not want the rest.
        """
        self._flying.pop(id(tally), None)
        self._waiting.pop(id(tally), None)
        answered = next((one for one in reversed(tally.attempts) if not one.lost), None)
        if not follows or (error is None and answered is None):  # a cache answered
            return
        if error is not None and (not isinstance(error, APIError) or isinstance(error, BudgetExceededError)):
            return  # given up, or nothing that a target is to blame for
        if error is None and given_up and first_token is None:
            return
        elsewhere = bool(moved) and answered is not None and answered.target not in moved and not tally.raced
        seconds = tally.latency if first_token is None else first_token - tally.started
        self.outcomes.append(
            Outcome(moved=bool(moved), failed=error is not None or elsewhere, seconds=seconds)
        )


class Turnout:
    """Where the way of calls may fork: holds the shares of a client while it is moved, else None."""

    __slots__ = ("shares",)

    def __init__(self) -> None:
        self.shares: Shares | None = None


def _place(session: str) -> float:
    """A session's own place between 0 and 1, the same in every process."""
    digest = blake2b(session.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64
