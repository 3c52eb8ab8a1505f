"""Ten thousand calls are in flight while a client moves: none is lost, sent twice, or led astray."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from both import Making, settled
from crowd import together
from fakes import ScriptedTransport, Sent, said
from hybrid_infer.migrating.report import Progress

NEW, OLD = "together-serverless", "openai-compatible"
HOSTS = {"api.together.xyz": NEW, "api-inference.together.ai": NEW, "localhost": OLD}
BOTH: dict[str, Any] = {
    "mode": OLD,
    "base_url": "http://localhost:1",
    "together_api_key": "key",
    "leases": "memory",
    "max_connections": 20_000,
    "models": {"m": {OLD: {"model": "m"}, NEW: {"model": "org/m"}}},
    "model": "m",
    "timeout": 86_400,
    "attempt_timeout": 86_400,
}
TAKES = 400.0
"""Seconds of each answer."""


@dataclass
class Seen:
    """What went over the wire: who asked what of whom, and how many were in flight at most."""

    asked: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    flying: int = 0
    most: int = 0

    def transport(self, takes: float) -> ScriptedTransport:
        return _Watched([said(after=takes)], seen=self)


@dataclass
class _Watched(ScriptedTransport):
    seen: Seen = field(kw_only=True)

    async def send(self, request: Any, *, until: float) -> Any:
        seen, text = self.seen, Sent(request, 0.0).json["messages"][0]["content"]
        seen.asked.append((text, HOSTS.get(request.origin.host, request.origin.host)))
        seen.flying += 1
        seen.most = max(seen.most, seen.flying)
        try:
            return await super().send(request, until=until)
        finally:
            seen.flying -= 1


def kinds(number: int) -> dict[str, Any]:
    """One call in ten names its mode, one in ten may not leave, and one in ten belongs to a session."""
    own: list[dict[str, Any]] = [{"mode": OLD}, {"never_leave": True}, {"session": f"s{number % 70}"}]
    return own[number % 10] if number % 10 < len(own) else {}


def judged(seen: Seen, replies: list[Any], count: int) -> Counter[str]:
    """Whatever must hold for all; how many were answered in which mode."""
    assert [reply for reply in replies if isinstance(reply, BaseException)] == []
    assert len(replies) == count
    sent = Counter(text for text, _ in seen.asked)
    assert all(sent[str(number)] == 1 for number in range(count)), "none is lost, and none sent twice"
    went = dict(seen.asked)
    for number, reply in enumerate(replies):
        assert reply.hybrid.mode == went[str(number)]
        assert reply.hybrid.attempts == 1
        if kinds(number).get("mode") == OLD:
            assert reply.hybrid.mode == OLD
    return Counter(reply.hybrid.mode for reply in replies)


async def test_ten_thousand_calls_in_flight_survive_a_move(colour: str, make: Making) -> None:
    """In tasks all of them at once; in threads a hundred at once, one after the other in each."""
    seen = Seen()
    api = make(transports=[seen.transport(TAKES), seen.transport(TAKES)], **BOTH)
    count, crowd = (10_000, 10_000) if colour == "async" else (10_000, 100)
    progress: list[Progress] = []
    begins: list[float] = []
    switched: list[tuple[float, int]] = []

    def told(one: Progress) -> None:
        progress.append(one)
        if one.phase == "switch":
            switched.append((api.runtime.now(), seen.flying))

    async def move() -> Any:
        return await settled(
            api.client.migrate(
                NEW,
                prompts=[{"messages": [{"role": "user", "content": "Compare"}]}],
                steps="25,50,100",
                dwell=100.0,
                on_progress=told,
                drain_timeout=10_000.0,
            )
        )

    def caller(first: int) -> Callable[[], Coroutine[Any, Any, Any]]:
        async def body() -> list[Any]:
            await api.runtime.sleep(2 * TAKES + 10 + 280.0 * first / crowd)
            found: list[Any] = []
            for number in range(first, count, crowd):
                begins.append(api.runtime.now())
                found.append(
                    await api.create(messages=[{"role": "user", "content": str(number)}], **kinds(number))
                )
            return found

        return body

    report, *lists = await together(api, move, *[caller(first) for first in range(crowd)])
    if isinstance(report, BaseException):
        raise report
    assert report.result == "done"
    replies: list[Any] = [None] * count
    for first, found in enumerate(lists):
        if isinstance(found, BaseException):
            raise found
        replies[first::crowd] = found
    modes = judged(seen, replies, count)
    ((_, flying),) = switched
    assert flying >= min(crowd, 10_000) * 0.99, "they were in flight when all calls went to the new mode"
    assert modes[OLD] > 0
    assert modes[NEW] > 0
    staying = [reply for number, reply in enumerate(replies[:crowd]) if kinds(number).get("never_leave")]
    assert {reply.hybrid.mode for reply in staying} == {OLD}, "they set out before the switch"
    assert all(len(reply.hybrid.history) == 1 for reply in replies)
