"""The oracle can fail: a client that is spoilt on purpose is found out."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from faults.cases import Case, Colour, Reach, Routing, Shape
from faults.oracle import Verdict, judge
from faults.report import Row, table
from faults.running import memory_at_rest, play, right_answers
from hybrid_infer import assembly
from hybrid_infer.backends.chat_stream import ChatDecoder
from hybrid_infer.backends.openai_wire import OpenAIBackend
from hybrid_infer.calls.chat import ChatCompletionChunk
from hybrid_infer.calls.hybrid import Hybrid
from hybrid_infer.core import Core
from hybrid_infer.errors import APIStatusError
from hybrid_infer.layers import retry
from hybrid_infer.layers.deadline import Deadline
from hybrid_infer.layers.exchange.live import LiveSource
from hybrid_infer.layers.limits.gate import Gate
from hybrid_infer.layers.retry import RetryPolicy
from hybrid_infer.layers.route import Route
from hybrid_infer.telemetry.spans import Spans

Patch = pytest.MonkeyPatch


@pytest.fixture(autouse=True)
def memory() -> Iterator[None]:
    with memory_at_rest():
        yield


def case(
    fault: str,
    shape: Shape = "unary",
    *,
    colour: Colour = "sync",
    routing: Routing = "single",
    reach: Reach = "once",
) -> Case:
    modes: Any = ("modal",) if routing == "single" else ("modal", "together-serverless")
    return Case(fault=fault, shape=shape, colour=colour, routing=routing, reach=reach, modes=modes)


def verdict(of: Case) -> Verdict:
    return judge(of, play(of), right_answers())


@dataclass
class Spoilt:
    """A way to spoil the client, a case that shows it, and what the oracle says."""

    spoil: Callable[[Patch], None]
    case: Case
    says: str


def wraps(patch: Patch, of: Any, name: str, change: Callable[..., Any]) -> None:
    """Have `change` called with the method's own self and arguments, the original first."""
    original = getattr(of, name)
    patch.setattr(of, name, lambda *args, **kwargs: change(original, *args, **kwargs))


def takes_what_was_cut_short(patch: Patch) -> None:
    patch.setattr(ChatDecoder, "finish", lambda self: None)


def loses_the_end(patch: Patch) -> None:
    def shortened(original: Any, *args: Any) -> Any:
        completion, facts = original(*args)
        message = completion.choices[0].message
        message.content = message.content[:-1]
        return completion, facts

    wraps(patch, OpenAIBackend, "decode", shortened)


def never_says_that_it_begins_anew(patch: Patch) -> None:
    patch.setattr(assembly, "chat_reset", lambda reason, partial: ChatCompletionChunk(choices=[]))


def drops_the_partial(patch: Patch) -> None:
    patch.setattr(ChatDecoder, "partial", lambda self: None)


def repeats_too_often(patch: Patch) -> None:
    wraps(patch, RetryPolicy, "after", lambda after, *a, retries, **k: after(*a, retries=retries + 1, **k))


def does_not_repeat(patch: Patch) -> None:
    patch.setattr(RetryPolicy, "after", lambda *args, **kwargs: None)


def does_not_wait_as_told(patch: Patch) -> None:
    patch.setattr(retry, "_asked_to_wait", lambda *args: 0.0)


def asks_the_same_again(patch: Patch) -> None:
    wraps(patch, Route, "__call__", lambda route, self, call: route(self, replace(call, avoid=())))


def knows_no_end(patch: Patch) -> None:
    def endless(original: Any, self: Any, call: Any, inner: Any) -> Any:
        return original(self, call, lambda timed: inner(replace(timed, until=1e9)))

    wraps(patch, Deadline, "__call__", endless)


def lets_a_strange_error_out(patch: Patch) -> None:
    def strange(self: Any, response: Any) -> Any:
        raise KeyError("choices")

    patch.setattr(OpenAIBackend, "error", strange)


def claims_a_bill(patch: Patch) -> None:
    patch.setattr(APIStatusError, "billed", True)


def forgets_an_attempt(patch: Patch) -> None:
    of = Hybrid.of
    patch.setattr(Hybrid, "of", lambda *args: replace(of(*args), history=of(*args).history[1:]))


def leaves_an_exchange(patch: Patch) -> None:
    async def nothing(self: Any) -> None: ...

    patch.setattr(LiveSource, "aclose", nothing)
    patch.setattr(LiveSource, "abandon", lambda self: None)


def leaves_a_span(patch: Patch) -> None:
    patch.setattr(Spans, "end_attempt", lambda *args, **kwargs: None)


def leaves_a_slot(patch: Patch) -> None:
    patch.setattr(Gate, "leave", lambda *args, **kwargs: None)


def each_call(patch: Patch, leave: Callable[[Any], object]) -> None:
    def run(original: Any, self: Any, call: Any) -> Any:
        leave(call)
        return original(self, call)

    wraps(patch, Core, "run", run)


def leaves_a_call(patch: Patch) -> None:
    each_call(patch, LEFT.append)


def leaves_a_task(patch: Patch) -> None:
    each_call(patch, lambda _: LEFT.append(asyncio.create_task(asyncio.sleep(1e6))))


def leaves_a_thread(patch: Patch) -> None:
    over = threading.Event()
    LEFT.append(over)
    each_call(patch, lambda _: threading.Thread(target=over.wait, daemon=True).start())


def leaves_a_file(patch: Patch) -> None:
    each_call(patch, lambda _: LEFT.append(os.open(os.devnull, os.O_RDONLY)))


LEFT: list[Any] = []


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    yield
    for thing in LEFT:
        if isinstance(thing, int):
            os.close(thing)
        if isinstance(thing, threading.Event):
            thing.set()
    LEFT.clear()


STREAM_CUT = case("truncate", "stream")
ALWAYS_500 = case("status_500", reach="everywhere")
WAYS = [
    Spoilt(takes_what_was_cut_short, STREAM_CUT, "rescued, and not partial kept"),
    Spoilt(takes_what_was_cut_short, STREAM_CUT, "taken for the answer"),
    Spoilt(loses_the_end, case("status_500"), "taken for the answer"),
    Spoilt(never_says_that_it_begins_anew, case("reset_mid_body", "restart"), "read as the answer"),
    Spoilt(drops_the_partial, STREAM_CUT, "failed clearly, and not partial kept"),
    Spoilt(repeats_too_often, ALWAYS_500, "4 attempts, and 3 at most"),
    Spoilt(does_not_repeat, case("status_500"), "failed clearly, and not rescued"),
    Spoilt(does_not_wait_as_told, case("status_429_retry_after"), "hammering"),
    Spoilt(asks_the_same_again, case("silence", routing="fallback", reach="first"), "again before"),
    Spoilt(knows_no_end, case("silence", reach="everywhere"), "and had 60 s"),
    Spoilt(lets_a_strange_error_out, case("status_500"), "not of our tree"),
    Spoilt(claims_a_bill, ALWAYS_500, "is told as"),
    Spoilt(forgets_an_attempt, ALWAYS_500, "the history tells of"),
    Spoilt(leaves_an_exchange, case("stall", "stream"), "exchanges are open at the providers after the call"),
    Spoilt(leaves_a_span, ALWAYS_500, "has not ended"),
    Spoilt(leaves_a_slot, case("status_500"), "the next call, without faults"),
    Spoilt(leaves_a_call, case("status_500"), "Call still in memory"),
    Spoilt(leaves_a_task, case("status_500", colour="async"), "left behind: task"),
    Spoilt(leaves_a_thread, case("status_500"), "left behind: thread"),
    Spoilt(leaves_a_file, case("status_500"), "left behind: 2 files"),
]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: f"{way.spoil.__name__}: {way.says}")
def test_a_spoilt_client_is_found_out(way: Spoilt, monkeypatch: Patch) -> None:
    right_answers()
    assert verdict(way.case).problems == ()
    way.spoil(monkeypatch)
    found = verdict(way.case)
    assert found.outcome == "wrong"
    assert any(way.says in problem for problem in found.problems), found.problems


def test_what_is_wrong_stands_in_the_last_line(monkeypatch: Patch) -> None:
    right_answers()
    repeats_too_often(monkeypatch)
    seen = play(ALWAYS_500)
    rows = [Row.of(ALWAYS_500, seen, judge(ALWAYS_500, seen, right_answers()))]
    lines = list(table(rows))
    assert lines[-1] == "wrong: 1 of 1"
    assert any("4 attempts, and 3 at most" in line for line in lines)
