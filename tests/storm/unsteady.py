"""A target that fails for a while, the calls that meet it, and what came of each of them."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from both import Api
from fakes import Answer, ScriptedTransport, completion, refused, said
from hybrid_infer.aclient import AsyncClient
from hybrid_infer.errors import APIError
from hybrid_infer.runtime.step import step
from hybrid_infer.transport.base import TransportError, WireRequest

KEY: dict[str, Any] = {"api_key": "k", "model": "m"}

Fault = Callable[[], Answer | TransportError]


def broken() -> Answer:
    return refused(500, after=0.05)


def reset() -> TransportError:
    return TransportError("the connection was reset", sent=True)


def throttled() -> Answer:
    return refused(429, headers=(("retry-after", "1"),), after=0.01)


MIXED: tuple[Fault, ...] = (broken, reset, throttled)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One call: when it began and ended, and what its caller got."""

    question: str
    began: float
    ended: float
    answer: str | None = None
    error: APIError | None = None
    attempts: int

    def lateness(self, deadline: float) -> float:
        """Seconds after its deadline at which the call ended; 0.0 where it ended in time."""
        return max(0.0, self.ended - self.began - deadline)


class Unsteady:
    """Answers each question with its own words, after `service` seconds.

    Until `recovers`, and not before `fails`, a share `rate` of the requests meets one of the `faults`.
    """

    def __init__(
        self,
        *faults: Fault,
        rate: float,
        fails: float = 0.0,
        recovers: float,
        service: float = 0.5,
        seed: int = 7,
    ) -> None:
        self._faults = faults
        self._rate = rate
        self._fails, self._recovers = fails, recovers
        self._service = service
        self._draw = random.Random(seed)
        self.transport = ScriptedTransport([self._answer])

    @property
    def load(self) -> int:
        """Requests that reached the server."""
        return len(self.transport.sent)

    def loads(self, since: float, until: float) -> int:
        """Requests within a stretch of time."""
        return sum(since <= sent.at < until for sent in self.transport.sent)

    def _answer(self, request: WireRequest) -> Answer | TransportError:
        now = self.transport.runtime.now()
        if self._fails <= now < self._recovers and self._draw.random() < self._rate:
            return self._draw.choice(self._faults)()
        question = json.loads(request.content())["messages"][0]["content"]
        return said(completion(f"re: {question}"), after=self._service)


async def ask(api: Api, question: str, **options: Any) -> Outcome:
    """One call, whatever becomes of it."""
    began = api.runtime.now()
    try:
        reply = await api.create(messages=[{"role": "user", "content": question}], **options)
    except APIError as error:
        hybrid = error.hybrid
        assert hybrid is not None, f"{error!r} does not say what was tried"
        return Outcome(
            question=question, began=began, ended=api.runtime.now(), error=error, attempts=hybrid.attempts
        )
    return Outcome(
        question=question,
        began=began,
        ended=api.runtime.now(),
        answer=reply.choices[0].message.content,
        attempts=reply.hybrid.attempts,
    )


async def at_moments(api: Api, moments: Sequence[Sequence[float]], **options: Any) -> list[Outcome]:
    """Each row is one caller, a thread or a task, and the moments at which it calls, or as soon as it can."""

    async def caller(row: int) -> list[Outcome]:
        outcomes = []
        for at in moments[row]:
            await api.runtime.sleep(at - api.runtime.now())
            outcomes.append(await ask(api, f"question {row} at {at:g}", **options))
        return outcomes

    api.runtime.check()  # from now on its clock is that of the loop
    if isinstance(api.client, AsyncClient):
        rows = list(await asyncio.gather(*map(caller, range(len(moments)))))
    else:
        threads: Any = api.runtime
        rows = threads.run(*[partial(_stepped, caller, row) for row in range(len(moments))])
    return [outcome for outcomes in rows for outcome in outcomes]


def _stepped(caller: Callable[[int], Any], row: int) -> list[Outcome]:
    outcomes: list[Outcome] = step(caller(row))
    return outcomes
