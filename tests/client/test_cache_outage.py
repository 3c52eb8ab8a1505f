"""The cache during an outage: what is past its time may serve, where the user allows it, and says so."""

from __future__ import annotations

from typing import Any

import pytest

from both import Api, Making
from fakes import ScriptedTransport, completion, refused, said
from hybrid_infer import CachePolicy
from hybrid_infer.errors import BadRequestError, InternalServerError
from hybrid_infer.transport.base import TransportError
from keeping import FIXED, KEY, MODEL, entries, in_virtual_time


class TestOutage:
    """cache_stale_if_error: what is past its time may serve while the provider is out."""

    async def after(self, make: Making, *then: Any, sleep: float = 90, **settings: Any) -> Api:
        transport = ScriptedTransport([said(), *then])
        given = {"cache_ttl": 60, "cache_stale_if_error": 60, "max_retries": 0, **KEY, **settings}
        api = in_virtual_time(make(transport=transport, **given))
        await api.create(**FIXED)
        await api.runtime.sleep(sleep)
        return api

    @pytest.mark.parametrize("failure", [refused(500), refused(429), TransportError("reset", sent=False)])
    async def test_it_serves_and_says_so(self, make: Making, failure: Any) -> None:
        api = await self.after(make, failure)
        hybrid = (await api.create(**FIXED)).hybrid
        assert hybrid.cache == "stale"
        assert "90 s old" in hybrid.warnings[-1]
        assert hybrid.attempts == 1
        assert hybrid.target == f"together-serverless/{MODEL}"

    async def test_as_a_stream_too(self, make: Making) -> None:
        api = await self.after(make, refused(500))
        stream = await api.stream(**FIXED)
        assert await stream.text() == "It scatters."
        assert stream.hybrid.cache == "stale"

    async def test_a_provider_that_answers_is_preferred(self, make: Making) -> None:
        api = await self.after(make, said(completion("fresh")))
        reply = await api.create(**FIXED)
        assert reply.choices[0].message.content == "fresh"
        assert reply.hybrid.cache == "miss"

    async def test_it_serves_only_for_so_long(self, make: Making) -> None:
        api = await self.after(make, refused(500), sleep=121)
        with pytest.raises(InternalServerError):
            await api.create(**FIXED)

    async def test_never_unless_allowed(self, make: Making) -> None:
        api = await self.after(make, refused(500), cache_stale_if_error=0)
        with pytest.raises(InternalServerError):
            await api.create(**FIXED)

    async def test_the_callers_own_mistake_is_no_outage(self, make: Making) -> None:
        api = await self.after(make, refused(400))
        with pytest.raises(BadRequestError):
            await api.create(**FIXED)

    async def test_a_refresh_falls_back_on_what_it_was_to_replace(self, make: Making) -> None:
        api = await self.after(make, refused(500), sleep=1)
        reply = await api.create(cache=CachePolicy(mode="refresh"), **FIXED)
        assert reply.hybrid.cache == "stale"

    async def test_nothing_is_stored_of_it(self, make: Making) -> None:
        api = await self.after(make, refused(500))
        (before,) = entries(api)
        await api.create(**FIXED)
        assert entries(api) == [before]
