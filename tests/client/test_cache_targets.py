"""The cache where several targets may answer: whose answers are found, and under whose name they are kept."""

from __future__ import annotations

from typing import Any

from both import Making
from fakes import ScriptedTransport, completion, refused, said
from keeping import FIXED, entries
from places import SETTINGS, Places


class TestTargets:
    """Whose answers are found where several targets may answer."""

    async def test_a_fallbacks_answer_is_kept_as_its_own(self, make: Making) -> None:
        places = Places(serverless=[refused(500)], modal=[said()])
        api = make(transport=places.transport, cache="memory", **SETTINGS)
        await api.create(fallback=["modal"], **FIXED)
        assert [entry.target for entry in entries(api)] == ["modal/llm"]
        hit = await api.create(fallback=["modal"], **FIXED)
        assert (hit.hybrid.cache, hit.hybrid.mode) == ("hit", "modal")

    async def test_a_call_that_may_not_go_there_does_not_get_it(self, make: Making) -> None:
        places = Places(serverless=[refused(500), said(completion("own"))], modal=[said()])
        api = make(transport=places.transport, cache="memory", **SETTINGS)
        await api.create(fallback=["modal"], max_retries=0, **FIXED)
        reply = await api.create(fallback=["modal"], never_leave=True, **FIXED)
        assert (reply.hybrid.cache, reply.choices[0].message.content) == ("miss", "own")

    async def test_modes_share_only_what_they_declare_the_same(self, make: Making) -> None:
        models = SETTINGS["models"]
        places = Places(serverless=[said()], modal=[said()])
        shared: dict[str, Any] = {"cache": "memory", "cache_namespace": "team"}
        apart = make(transport=places.transport, **{**SETTINGS, **shared})
        await apart.create(**FIXED)
        assert (await apart.create(mode="modal", **FIXED)).hybrid.cache == "miss"
        declared = {name: {**entry, "identity": "weights@fp8"} for name, entry in models.items()}
        api = make(transport=places.transport, **{**SETTINGS, **shared, "models": declared})
        await api.create(**FIXED)
        hit = (await api.create(mode="modal", **FIXED)).hybrid
        assert (hit.cache, hit.mode) == ("hit", "together-serverless")

    async def test_the_identity_of_a_mode_counts_before_that_of_the_model(self, make: Making) -> None:
        places = Places(serverless=[said()], modal=[said()])
        name, entry = next(iter(SETTINGS["models"].items()))
        modal = entry["modal"] if isinstance(entry["modal"], dict) else {"model": entry["modal"]}
        declared = {name: {**entry, "identity": "a", "modal": {**modal, "identity": "b"}}}
        settings = {**SETTINGS, "cache": "memory", "cache_namespace": "team", "models": declared}
        api = make(transport=places.transport, **settings)
        await api.create(**FIXED)
        assert (await api.create(mode="modal", **FIXED)).hybrid.cache == "miss"

    async def test_it_outlives_a_switch(self, make: Making) -> None:
        places = Places(serverless=[said()], modal=[said()])
        api = make(transport=places.transport, cache="memory", **SETTINGS)
        await api.create(**FIXED)
        await api.switch("modal")
        await api.create(**FIXED)
        await api.switch("together-serverless")
        assert (await api.create(**FIXED)).hybrid.cache == "hit"

    async def test_a_rotated_credential_is_another(self, make: Making) -> None:
        transport = ScriptedTransport([said()])
        key = "one"
        api = make(transport=transport, cache="memory", model="m", api_key=lambda: key)
        await api.create(**FIXED)
        key = "two"
        assert (await api.create(**FIXED)).hybrid.cache == "miss"
        key = "one"
        assert (await api.create(**FIXED)).hybrid.cache == "hit"
