"""What came of one call, as a caller sees it, and what was left behind."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from both import Api
from faults.cases import VIRTUAL, WARM_UP, Case
from faults.stage import Arrived, CountedSpans, RecordedWorld
from hybrid_infer.calls.call import Attempt, Call, Tally
from hybrid_infer.calls.chat import ChatCompletion, ChatStreamReset
from hybrid_infer.calls.hybrid import Hybrid, Tried
from hybrid_infer.calls.reply import Reply
from hybrid_infer.core import Core
from hybrid_infer.errors import APIError, HybridInferError
from hybrid_infer.streams import AsyncStream, Stream

ASK = [{"role": "user", "content": "Why is the sky blue, and why is it red in the evening?"}]

_OF_A_CALL = (Call, Tally, Attempt, Reply, Core, Stream, AsyncStream)
"""Nobody may hold these once a client is closed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """A complete answer."""

    text: str | None
    finish: str | None
    usage: tuple[int | None, int | None]

    @classmethod
    def of(cls, completion: ChatCompletion) -> Answered:
        choice, usage = completion.choices[0], completion.usage
        counts = (None, None) if usage is None else (usage.prompt_tokens, usage.completion_tokens)
        return cls(text=choice.message.content, finish=choice.finish_reason, usage=counts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """An exception. `foreign` names those of other libraries that it leads to."""

    kind: type[BaseException]
    text: str
    message: str = ""
    where: str | None = None
    hint: str | None = None
    code: str | None = None
    status: int | None = None
    billed: bool | None = None
    retryable: bool = False
    partial: str | None = None
    foreign: tuple[str, ...] = ()

    @classmethod
    def of(cls, error: BaseException) -> Failed:
        if not isinstance(error, APIError):
            return cls(kind=type(error), text=str(error), foreign=_foreign(error))
        partial: ChatCompletion | None = error.partial
        return cls(
            kind=type(error),
            text=str(error),
            message=error.message,
            where=error.where,
            hint=error.hint,
            code=error.code,
            status=error.status,
            billed=error.billed,
            retryable=error.retryable,
            partial=None if partial is None else partial.choices[0].message.content or "",
            foreign=_foreign(error),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Reset:
    """A stream began anew: what the event says had come, and what had."""

    told: str
    had: str


@dataclass(slots=True, kw_only=True)
class Observed:
    """One call and what it left.

    Attributes:
        read: what a stream's consumer had put together when it ended, since the last reset.
        began, ended: the client's seconds.
        arrived: what the providers saw of it.
        next: the answer to a plain call after it, without faults.
        left: what is still there afterwards, in words.
    """

    answer: Answered | None = None
    failure: Failed | None = None
    read: str = ""
    resets: list[Reset] = field(default_factory=list[Reset])
    hybrid: Hybrid | None = None
    began: float = 0.0
    ended: float = 0.0
    arrived: Sequence[Arrived] = ()
    next: Answered | Failed | None = None
    left: list[str] = field(default_factory=list[str])

    @property
    def seconds(self) -> float:
        return self.ended - self.began

    @property
    def history(self) -> tuple[Tried, ...]:
        return () if self.hybrid is None else self.hybrid.history


async def observe(
    api: Api, world: RecordedWorld, spans: CountedSpans, case: Case, use_faults: Callable[[Any], None]
) -> Observed:
    """Make the call of the case, a plain one after it, and close the client."""
    seen = Observed()
    runtime = api.runtime
    if case.routing == "hedged":
        await _warm_up(api, case)
        spans.clear()
    await runtime.sleep(case.begin)
    world.arrived.clear()
    use_faults(case.rules())
    seen.began = runtime.now()
    try:
        await _call(api, case, seen)
    except Exception as error:
        seen.failure = Failed.of(error)
        seen.hybrid = error.hybrid if isinstance(error, APIError) else None
    seen.ended = runtime.now()
    seen.arrived = tuple(world.arrived)
    if case.routing == "hedged":
        await runtime.sleep(case.pace.attempt)  # a blocking client's loser ends by itself
    _look_at_spans(seen, spans)
    await _look_at_exchanges(api, seen, world, case, "after the call")
    use_faults(None)
    try:
        seen.next = Answered.of(await api.create(messages=ASK, timeout=10.0))
    except Exception as error:
        seen.next = Failed.of(error)
    seen.left += [f"{known!r}" for known in _busy(api)]
    await api.close()
    await _look_at_exchanges(api, seen, world, case, "after all")
    return seen


async def _warm_up(api: Api, case: Case) -> None:
    for _ in range(WARM_UP):
        if case.shape == "unary":
            await api.create(messages=ASK, hedge=True)
        else:
            await (await api.stream(messages=ASK, hedge=True)).final()


async def _call(api: Api, case: Case, seen: Observed) -> None:
    options: dict[str, Any] = {"messages": ASK, "timeout": case.timeouts()}
    if case.shape == "unary":
        completion = await api.create(**options)
        seen.hybrid = completion.hybrid
        seen.answer = Answered.of(completion)
        seen.read = seen.answer.text or ""
        return
    on_break = "restart" if case.shape == "restart" else "error"
    stream = await api.stream(on_stream_break=on_break, **options)
    async for chunk in stream:
        if isinstance(chunk, ChatStreamReset):
            told = "" if chunk.partial is None else chunk.partial.choices[0].message.content or ""
            seen.resets.append(Reset(told=told, had=seen.read))
            seen.read = ""
        elif chunk.choices:
            seen.read += chunk.choices[0].delta.content or ""
    completion = await stream.final()
    seen.hybrid = stream.hybrid
    seen.answer = Answered.of(completion)


def _look_at_spans(seen: Observed, spans: CountedSpans) -> None:
    seen.left += [f"span {name!r} has not ended" for name in spans.open.values()]
    tried = len(seen.history)
    if len(spans.ended) != tried + 1:
        seen.left.append(f"{len(spans.ended)} spans ended, of a call with {tried} attempts")


async def _look_at_exchanges(api: Api, seen: Observed, world: RecordedWorld, case: Case, when: str) -> None:
    """Over sockets it takes a moment until a server sees that a client has gone."""
    patience = case.pace.rounding
    while open_ := world.seen().open:
        if patience <= VIRTUAL.rounding:
            seen.left.append(f"{open_} exchanges are open at the providers {when}")
            return
        patience /= 2
        await api.runtime.sleep(patience)


def _busy(api: Api) -> list[object]:
    """Limits of the client that hold a slot for nobody."""
    machines = api.client._core._parts.machines.values()
    return [known.limits for known in machines if known.limits is not None and known.limits.in_flight]


def left_in_memory() -> list[str]:
    """What is left of calls, in words. The caller froze what was there before (`gc.freeze`)."""
    gc.collect()
    left = [type(thing).__name__ for thing in gc.get_objects() if isinstance(thing, _OF_A_CALL)]
    return [f"{left.count(name)} {name} still in memory" for name in dict.fromkeys(left)]


def _foreign(error: BaseException) -> tuple[str, ...]:
    """What a traceback would show besides the error, where it is not of our tree."""
    found: list[str] = []
    seen: set[int] = set()
    while id(error) not in seen:
        seen.add(id(error))
        if not isinstance(error, HybridInferError):
            found.append(type(error).__name__)
        following = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        if following is None:
            break
        error = following
    return tuple(found)
