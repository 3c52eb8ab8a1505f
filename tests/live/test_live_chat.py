"""Chat on the real providers. Costs a fraction of a cent; runs with `-m live` where the keys are set.

| mode | needs |
|---|---|
| together-serverless | TOGETHER_API_KEY, and a model in HYBRID_INFER_LIVE_SERVERLESS |
| together-dedicated | TOGETHER_API_KEY, and a running endpoint in HYBRID_INFER_LIVE_DEDICATED |
| modal | HYBRID_INFER_LIVE_MODAL_URL, _KEY and _SECRET |
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import pytest

from both import Making

pytestmark = [pytest.mark.live, pytest.mark.real_time]

# Read here, since the variables of the person who runs the tests are taken away before each test.
HERE = dict(os.environ)
PLACES: Mapping[str, Mapping[str, str]] = {
    "together-serverless": {"together_api_key": "TOGETHER_API_KEY", "model": "HYBRID_INFER_LIVE_SERVERLESS"},
    "together-dedicated": {"together_api_key": "TOGETHER_API_KEY", "model": "HYBRID_INFER_LIVE_DEDICATED"},
    "modal": {
        "modal_url": "HYBRID_INFER_LIVE_MODAL_URL",
        "modal_key": "HYBRID_INFER_LIVE_MODAL_KEY",
        "modal_secret": "HYBRID_INFER_LIVE_MODAL_SECRET",
    },
}


@pytest.mark.parametrize("mode", PLACES)
async def test_a_call_and_a_stream_are_answered(make: Making, mode: str) -> None:
    missing = [variable for variable in PLACES[mode].values() if variable not in HERE]
    if missing:
        pytest.skip(f"not set: {', '.join(missing)}")
    settings: dict[str, Any] = {name: HERE[variable] for name, variable in PLACES[mode].items()}
    api = make(mode=mode, **settings)
    messages = [{"role": "user", "content": "Answer with the one word: blue"}]
    reply = await api.create(messages=messages, max_tokens=16)
    stream = await api.stream(messages=messages, max_tokens=16)
    text = await stream.text()
    await api.close()
    assert "blue" in (reply.choices[0].message.content or "").lower()
    assert "blue" in text.lower()
    assert reply.hybrid.usage is not None
    assert reply.hybrid.mode == mode
