"""A cold machine is waited for, by one prober for all calls."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from both import Api, Making
from fakes import Answer, ScriptedTransport, refused, said
from hybrid_infer.aclient import AsyncClient
from hybrid_infer.errors import AuthenticationError, ColdError, DeadlineExceededError, OverloadedError
from hybrid_infer.transport.base import WireRequest

MODAL: dict[str, Any] = {
    "mode": "modal",
    "modal_url": "https://acme--llm.us-east.modal.direct",
    "modal_key": "wk-1",
    "modal_secret": "ws-1",
    "model": "llm",
}
STARTING = Answer(503, (b"no container is running",), (("content-type", "text/plain"),))
MODELS = said({"object": "list", "data": [{"id": "llm", "object": "model"}]})


class Machine:
    """Answers 503 until `up_at`, as *.modal.direct does."""

    def __init__(self, up_at: float) -> None:
        self.up_at = up_at
        self.transport = ScriptedTransport([self.answer])

    def answer(self, request: WireRequest) -> Answer:
        if self.transport.runtime.now() < self.up_at:
            return STARTING
        return MODELS if request.method == "GET" else said()

    @property
    def posts(self) -> int:
        return sum(sent.request.method == "POST" for sent in self.transport.sent)


async def test_a_call_waits_for_the_machine_and_says_so(make: Making) -> None:
    machine = Machine(up_at=42)
    reply = await make(transport=machine.transport, **MODAL).create()
    assert reply.hybrid.cold_start
    assert reply.hybrid.cold_wait == pytest.approx(42, abs=1.5)
    assert reply.hybrid.attempts == 2, "probes are no attempts"
    assert reply.hybrid.latency == pytest.approx(42, abs=1.5)


async def test_a_warm_machine_is_not_called_cold(make: Making) -> None:
    reply = await make(transport=Machine(up_at=0).transport, **MODAL).create()
    assert not reply.hybrid.cold_start
    assert reply.hybrid.cold_wait == 0


async def test_waiting_ends_at_the_cold_start_timeout(make: Making) -> None:
    machine = Machine(up_at=1e9)
    with pytest.raises(ColdError) as caught:
        await make(transport=machine.transport, cold_start_timeout=20, **MODAL).create()
    assert caught.value.hybrid.latency == pytest.approx(20, abs=1.5)
    assert "cold_start_timeout" in str(caught.value)
    assert caught.value.retryable


async def test_waiting_never_outlives_the_call(make: Making) -> None:
    machine = Machine(up_at=1e9)
    with pytest.raises((ColdError, DeadlineExceededError)) as caught:
        await make(transport=machine.transport, **MODAL).create(timeout=15)
    assert caught.value.hybrid.latency <= 15 + 1e-6


async def test_zero_does_not_wait(make: Making) -> None:
    machine = Machine(up_at=1e9)
    with pytest.raises(ColdError):
        await make(transport=machine.transport, cold_start_timeout=0, **MODAL).create()
    assert len(machine.transport.sent) == 1


async def together(api: Api, calls: int) -> list[Any]:
    """Several calls at once, in the threads or tasks of the colour."""
    if isinstance(api.client, AsyncClient):
        return list(await asyncio.gather(*(api.create() for _ in range(calls))))

    def one() -> Any:
        return api.client.chat.completions.create(messages=[{"role": "user", "content": "hi"}])

    return api.runtime.run(*[one] * calls)  # type: ignore[attr-defined, no-any-return]


async def test_one_prober_serves_all_calls(make: Making) -> None:
    machine = Machine(up_at=30)
    api = make(transport=machine.transport, **MODAL)
    replies = await together(api, 20)
    assert all(reply.hybrid.cold_start for reply in replies)
    assert all(29 <= reply.hybrid.cold_wait <= 32 for reply in replies)
    assert machine.posts == 40, "each call asks once before and once after"
    probes = len(machine.transport.sent) - machine.posts
    assert probes <= 32


async def test_a_prober_that_leaves_hands_over(make: Making) -> None:
    machine = Machine(up_at=30)
    api = make(transport=machine.transport, **MODAL)
    outcomes: list[Any] = []

    async def hurried() -> None:
        with pytest.raises((ColdError, DeadlineExceededError)):
            await api.create(timeout=5)

    if make.colour == "async":
        hurry = asyncio.ensure_future(hurried())
        await asyncio.sleep(0)
        outcomes.append(await api.create())
        await hurry
    else:
        from hybrid_infer.runtime.step import step

        def patient() -> None:
            outcomes.append(step(api.create()))

        api.runtime.run(lambda: step(hurried()), patient)  # type: ignore[attr-defined]
    assert outcomes[0].hybrid.cold_wait == pytest.approx(30, abs=2)


async def test_a_wrong_credential_is_never_polled(make: Making) -> None:
    answers = [
        STARTING,
        Answer(401, (b"modal-http: missing credentials",), (("content-type", "text/plain"),)),
    ]
    transport = ScriptedTransport(answers)
    with pytest.raises(AuthenticationError):
        await make(transport=transport, **MODAL).create()
    assert len(transport.sent) == 3, "the call, one probe, the call"


async def test_an_engines_own_503_is_not_a_cold_machine(make: Making) -> None:
    transport = ScriptedTransport([refused(503, message="queue is full")])
    with pytest.raises(OverloadedError):
        await make(transport=transport, max_retries=0, **MODAL).create()
    assert len(transport.sent) == 1


async def test_a_dedicated_endpoint_that_flaps_is_waited_for(make: Making) -> None:
    transport = ScriptedTransport(
        [refused(400, "dedicated_endpoint_not_running"), refused(400, "endpoint_not_configured"), said()]
    )
    api = make(transport=transport, mode="together-dedicated", api_key="k", model="acme/assistant")
    reply = await api.create()
    assert reply.hybrid.cold_start
    assert reply.hybrid.attempts == 2
    probe = transport.sent[1].json
    assert probe["max_tokens"] == 1
    assert probe["model"] == "acme/assistant"
