"""Faults through the in-process door, in both colours and in virtual time, seen by a bare transport."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest

from hybrid_infer.calls.call import MODES, Mode
from hybrid_infer.runtime.base import Runtime
from hybrid_infer.runtime.tasks import TaskRuntime
from hybrid_infer.runtime.virtual import VirtualThreads
from hybrid_infer.simulator.door import SimulatedTransport
from hybrid_infer.simulator.fault_catalogue import ALL_FAULTS
from hybrid_infer.simulator.fault_rules import Faults
from hybrid_infer.simulator.faults import Fault
from hybrid_infer.simulator.world import World
from hybrid_infer.transport.base import Headers, Origin, TransportError, TransportTimeout, WireRequest
from simulator.simulated import BEARER, post

ORIGIN = Origin(scheme="https", host="simulated.example", port=443)
PATIENCE = 1000.0


@dataclass(kw_only=True)
class Outcome:
    """What a transport made of a request: how far it came, and when."""

    status: int | None = None
    headers: Headers = ()
    body: bytes = b""
    reads: int = 0
    error: TransportError | None = None
    head_at: float = 0.0
    first_at: float = 0.0
    ended_at: float = 0.0

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name), None)

    @property
    def events(self) -> list[bytes]:
        return self.body.split(b"\n\n")[:-1]

    @property
    def contents(self) -> int:
        """Chunks that carry text."""
        chunks = [json.loads(e.removeprefix(b"data: ")) for e in self.events if b'"choices":[{' in e]
        return sum(bool(chunk["choices"][0]["delta"].get("content")) for chunk in chunks)


class Providers:
    """A world with faults and a transport to it."""

    def __init__(self, runtime: Runtime, faults: Faults | None, mode: Mode = "openai-compatible") -> None:
        runtime.check()
        self.runtime = runtime
        self.world = World(faults=faults)
        self.transport = SimulatedTransport(self.world, runtime=runtime, mode=mode)

    async def ask(self, *, stream: bool = False, path: str = "", **fields: Any) -> Outcome:
        plain = post(model="llm", stream=stream, **fields)
        request = WireRequest(
            method="GET" if path else "POST",
            origin=ORIGIN,
            path=path or plain.path,
            headers=tuple((plain.headers or BEARER).items()),
            body=b"" if path else plain.body,
        )
        began = self.runtime.now()
        until = began + PATIENCE
        seen = Outcome()
        try:
            response = await self.transport.send(request, until=until)
            seen.status, seen.headers, seen.head_at = (
                response.status,
                response.headers,
                self.runtime.now() - began,
            )
            try:
                while data := await response.read(until):
                    seen.first_at = seen.first_at if seen.reads else self.runtime.now() - began
                    seen.body, seen.reads = seen.body + data, seen.reads + 1
            finally:
                await response.aclose()
        except TransportError as error:
            seen.error = error
        seen.ended_at = self.runtime.now() - began
        assert self.world.seen(self.runtime.now()).open == 0
        return seen


@pytest.fixture
def runtime(colour: str) -> Runtime:
    return VirtualThreads() if colour == "sync" else TaskRuntime()


either = pytest.mark.parametrize("stream", [False, True], ids=["unary", "stream"])


@either
async def test_a_refused_connection_sends_nothing(runtime: Runtime, stream: bool) -> None:
    providers = Providers(runtime, Fault("refuse"))
    got = await providers.ask(stream=stream)
    assert (got.status, got.ended_at) == (None, 0.0)
    assert got.error is not None and not got.error.sent
    assert str(got.error) == "cannot connect to simulated.example:443: connection refused"
    seen = providers.world.seen()
    assert (seen.refused, seen.calls, seen.faulted) == (1, 0, 1)


@either
async def test_a_reset_before_headers_comes_after_the_request(runtime: Runtime, stream: bool) -> None:
    providers = Providers(runtime, Fault("reset_before_headers", seconds=2))
    got = await providers.ask(stream=stream)
    assert got.status is None
    assert got.ended_at == pytest.approx(2)
    assert got.error is not None and got.error.sent
    assert str(got.error).startswith("the server closed the connection before it answered: connection reset")
    assert providers.world.seen().calls == 1


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("fault", "reset"),
    [(Fault("reset_mid_body"), True), (Fault("truncate", variant="broken"), False)],
)
async def test_a_body_that_breaks_off_is_an_error(
    runtime: Runtime, fault: Fault, reset: bool, stream: bool
) -> None:
    got = await Providers(runtime, fault).ask(stream=stream)
    assert got.status == 200
    assert "the server closed the connection before the answer was complete" in str(got.error)
    assert ("connection reset" in str(got.error)) is reset
    if stream:
        assert (len(got.events), got.contents) == (3, 2)
    else:
        assert 0 < len(got.body) < int(got.header("content-length") or 0)


async def test_a_cut_may_come_after_so_many_bytes_or_at_once(runtime: Runtime) -> None:
    for stream in (False, True):
        for size in (0, 1, 300):
            got = await Providers(runtime, Fault("reset_mid_body", bytes=size)).ask(stream=stream)
            assert (got.status, len(got.body)) == (200, size)
            assert got.error is not None
    got = await Providers(runtime, Fault("reset_mid_body", events=0)).ask(stream=True)
    assert (got.status, got.body) == (200, b"")


@either
async def test_silence_lasts_until_the_client_has_enough(runtime: Runtime, stream: bool) -> None:
    providers = Providers(runtime, Fault("silence"))
    got = await providers.ask(stream=stream)
    assert isinstance(got.error, TransportTimeout) and got.error.sent
    assert (got.status, got.ended_at) == (None, PATIENCE)
    assert providers.world.seen().cancelled == 1


@either
async def test_a_slow_first_token_holds_back_the_head(runtime: Runtime, stream: bool) -> None:
    well = await Providers(runtime, None).ask(stream=stream)
    late = await Providers(runtime, Fault("slow_first_token", seconds=40)).ask(stream=stream)
    assert late.head_at == late.first_at == pytest.approx(40)
    assert late.body == well.body


async def test_a_slow_first_token_may_come_long_after_the_head(runtime: Runtime) -> None:
    for mode in MODES[:1] + MODES[3:]:
        late = Fault("slow_first_token", variant="content", seconds=40)
        got = await Providers(runtime, late, mode).ask(stream=True)
        assert got.head_at < 1
        assert got.error is None
        assert got.ended_at == pytest.approx(40, abs=0.5)


@pytest.mark.parametrize(("variant", "beat"), [("comment", b": still here\n\n"), ("event", b'"choices":[]')])
async def test_a_stall_may_send_signs_of_life_and_never_content(
    runtime: Runtime, variant: str, beat: bytes
) -> None:
    quiet = await Providers(runtime, Fault("stall")).ask(stream=True)
    alive = await Providers(runtime, Fault("stall", variant=variant, keep_alive=10)).ask(stream=True)
    for got in (quiet, alive):
        assert isinstance(got.error, TransportTimeout)
        assert (got.ended_at, got.contents) == (PATIENCE, 2)
    assert quiet.body.count(beat) == 0
    assert alive.body.count(beat) == PATIENCE // 10 - 1


async def test_a_complete_answer_stalls_in_its_middle(runtime: Runtime) -> None:
    got = await Providers(runtime, Fault("stall")).ask()
    assert (got.status, got.ended_at) == (200, PATIENCE)
    assert 0 < len(got.body) < int(got.header("content-length") or 0)


@either
async def test_a_drip_is_a_byte_at_a_time(runtime: Runtime, stream: bool) -> None:
    well = await Providers(runtime, None).ask(stream=stream)
    got = await Providers(runtime, Fault("drip", seconds=0.05)).ask(stream=stream)
    assert (got.body, got.reads) == (well.body, len(well.body))
    assert got.ended_at - got.first_at == pytest.approx(0.05 * (len(well.body) - 1), rel=0.05)


async def test_a_drip_begins_when_there_is_something_to_send(runtime: Runtime) -> None:
    """Not with a burst of what the wait for the first token would have let through."""
    drip = Fault("drip", seconds=1.0)
    got = await Providers(runtime, drip, "together-serverless").ask()
    assert got.reads == len(got.body)
    assert got.ended_at == pytest.approx(got.first_at + len(got.body) - 1)


async def test_a_truncated_stream_ends_well_without_its_end(runtime: Runtime) -> None:
    got = await Providers(runtime, Fault("truncate")).ask(stream=True)
    assert (got.error, got.contents) == (None, 2)
    assert b"[DONE]" not in got.body and b'"finish_reason":"' not in got.body


async def test_a_truncated_answer_ends_well_in_its_middle(runtime: Runtime) -> None:
    well = await Providers(runtime, None).ask()
    got = await Providers(runtime, Fault("truncate")).ask()
    assert got.error is None
    assert got.body == well.body[: len(well.body) // 2]


@pytest.mark.parametrize("events", [0, 3, 999])
async def test_a_short_answer_is_cut_before_its_end_all_the_same(runtime: Runtime, events: int) -> None:
    got = await Providers(runtime, Fault("truncate", events=events)).ask(stream=True, max_tokens=1)
    assert b"[DONE]" not in got.body and b'"finish_reason":"' not in got.body


@pytest.mark.parametrize("events", [0, 1, 3, 999])
async def test_noise_comes_in_addition_and_damage_loses_content(runtime: Runtime, events: int) -> None:
    well = await Providers(runtime, None).ask(stream=True)
    noisy = await Providers(runtime, Fault("malformed_event", events=events)).ask(stream=True)
    damaged = Fault("malformed_event", variant="damaged", events=events)
    broken = (await Providers(runtime, damaged).ask(stream=True)).events
    assert [event for event in noisy.events if event in well.events] == well.events
    assert len(noisy.events) == len(well.events) + 1
    (lost,) = set(well.events) - set(broken)
    (half,) = set(broken) - set(well.events)
    assert lost.startswith(half)
    for event in (half, *(set(noisy.events) - set(well.events))):
        with pytest.raises(ValueError, match=r"Expecting|Unterminated|delimiter"):
            json.loads(event.removeprefix(b"data: "))


@pytest.mark.parametrize("events", [0, 3])
async def test_an_error_event_ends_the_stream(runtime: Runtime, events: int) -> None:
    got = await Providers(runtime, Fault("error_event", events=events, code="overloaded")).ask(stream=True)
    assert (got.status, got.error, len(got.events)) == (200, None, events + 1)
    assert json.loads(got.events[-1].removeprefix(b"data: "))["error"]["code"] == "overloaded"


async def test_an_error_stands_inside_a_complete_success(runtime: Runtime) -> None:
    got = await Providers(runtime, Fault("error_event", message="out of memory")).ask()
    assert (got.status, json.loads(got.body)["error"]["message"]) == (200, "out of memory")


@either
async def test_a_page_comes_in_the_place_of_an_answer(runtime: Runtime, stream: bool) -> None:
    got = await Providers(runtime, Fault("wrong_content_type")).ask(stream=stream)
    assert (got.status, got.header("content-type")) == (200, "text/html; charset=utf-8")
    assert got.body.startswith(b"<!doctype html>")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ALL_FAULTS)
async def test_every_fault_leaves_nothing_behind_in_any_mode(runtime: Runtime, name: str, mode: Mode) -> None:
    """A stream and a complete answer: each ends in time, and the world has both in its log."""
    providers = Providers(runtime, ALL_FAULTS[name], mode)
    for stream in (False, True):
        await providers.ask(stream=stream)
    seen = providers.world.seen(runtime.now())
    assert seen.calls + seen.refused == 2
    machines = providers.world.machines(runtime.now() + 60)
    assert machines.container_requests + sum(endpoint.requests for endpoint in machines.endpoints) == 0
