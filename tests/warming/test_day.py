"""A day in virtual time: calls move to a machine of one's own, overflow at noon, leave it in the evening."""

from __future__ import annotations

import asyncio
from datetime import datetime
from functools import partial
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

import pytest

from both import ASK, Api
from hybrid_infer.calls.hybrid import Hybrid
from warming.fleet import DEDICATED, Fleet

HOURS = "Mon-Fri 08:00-19:00 America/New_York"
ZONE = ZoneInfo("America/New_York")
MORNING = 5 * 3600.0
"""The clock begins on a Monday at 03:00 by that zone."""
EVENING = MORNING + 11 * 3600.0
SETTINGS: dict[str, Any] = {
    "mode": "hybrid",
    "hybrid": {"base": "together-dedicated", "overflow": "together-serverless", "max_wait": 0.5},
    "models": {
        "assistant": {
            "together-serverless": "Qwen/Qwen3.5-9B",
            "together-dedicated": {
                "model": "simulated/assistant",
                "gpu": "H100",
                "warm": HOURS,
                "max_in_flight": 4,
            },
        }
    },
    "model": "assistant",
}

Seen: TypeAlias = tuple[datetime, Hybrid]
"""When a call was made, and what it came to."""


async def ask(api: Api, seen: list[Seen], *, tokens: int = 20) -> None:
    at = api.runtime.wall()
    reply = await api.create(max_tokens=tokens)
    seen.append((at, reply.hybrid))


async def burst(api: Api, seen: list[Seen], calls: int) -> None:
    """So many long calls at once."""
    if api.client.__class__.__name__ == "AsyncClient":
        await asyncio.gather(*(ask(api, seen, tokens=1500) for _ in range(calls)))
        return
    runtime: Any = api.runtime

    def one() -> None:
        at = api.runtime.wall()
        reply = api.client.chat.completions.create(messages=ASK, max_tokens=1500)
        seen.append((at, reply.hybrid))

    runtime.run(*[partial(one)] * calls)


@pytest.mark.timeout(180)
async def test_a_day(colour: str) -> None:
    """No call fails, none waits for a machine, and the machine is billed for its hours."""
    fleet = Fleet(colour)
    owner, other = fleet.client(**SETTINGS), fleet.client(**SETTINGS)
    for seconds in (330.0, 340.0, 335.0):  # starts that were measured before
        await owner.client._core.machines.keeper.measured(DEDICATED, seconds)
    seen: list[Seen] = []
    ready: float | None = None
    busy = False
    while (now := owner.runtime.now()) < EVENING + 2 * 3600:
        for api in (owner, other):
            await ask(api, seen)
        if ready is None and fleet.ready():
            ready = now
        if not busy and now >= MORNING + 4 * 3600:
            busy = True
            await burst(owner, seen, 40)
        near = min(abs(now - MORNING), abs(now - EVENING)) < 900
        await owner.runtime.sleep(10 if near else 120)

    assert ready is not None
    assert 0 < MORNING - ready < 60, "it is up before its hours, and within a minute"
    assert fleet.billed("together-dedicated") == pytest.approx(EVENING - ready, abs=60)
    assert all(hybrid.cold_wait == 0 and not hybrid.cold_start for _, hybrid in seen)
    day = [(at.astimezone(ZONE), hybrid.mode) for at, hybrid in seen]
    noon = {mode for at, mode in day if at.hour == 12 and at.minute < 5}
    assert noon == {"together-dedicated", "together-serverless"}
    hours = [(at, mode) for at, mode in day if at.hour != 12]
    assert {mode for at, mode in hours if 8 <= at.hour < 19} == {"together-dedicated"}
    assert {mode for at, mode in hours if at.hour < 7 or at.hour >= 19} == {"together-serverless"}
    starts = await owner.client._core.machines.keeper.store.starts(DEDICATED)
    assert len(starts) == 4, "this one was measured, too"
    assert 300 < starts[-1] < 400
    for api in (owner, other):
        await api.close()
