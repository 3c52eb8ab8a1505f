"""Targets and attempts, as the price tests need them."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

from hybrid_infer.calls.call import Attempt, Target
from hybrid_infer.calls.money import Usage

DAY = date(2026, 11, 24)
EARLY = date(2026, 10, 5)
"""A day on which the GPU prices of 2026-10-02 and 2026-10-04 are fresh."""

SERVERLESS = Target(
    name="together-serverless/Qwen3.5-9B",
    mode="together-serverless",
    provider="together_ai",
    model="Qwen/Qwen3.5-9B",
    host="api.together.ai",
    port=443,
    basis="tokens",
)
DEDICATED = Target(
    name="together-dedicated/acme",
    mode="together-dedicated",
    provider="together_ai",
    model="acme/assistant",
    host="api-inference.together.ai",
    port=443,
    basis="machine-time",
    gpu="H100",
    gpus=2,
)
MODAL = replace(DEDICATED, name="modal/llm", mode="modal", model="llm", gpus=1)
SHARED = replace(
    MODAL, model="ws--ep.us-west.modal.direct", basis="tokens", priced_as="DeepSeek V4.1 Flash 1017", gpu=None
)
COMPATIBLE = replace(
    SERVERLESS, name="openai-compatible/m", mode="openai-compatible", model="m", basis="unknown"
)


def tokens(input_tokens: int | None, output_tokens: int | None, cached_tokens: int | None = None) -> Usage:
    return Usage(input_tokens=input_tokens, output_tokens=output_tokens, cached_tokens=cached_tokens)


def call(target: Target, usage: Usage | None = None, **more: Any) -> Attempt:
    return Attempt(target=target, started=0.0, usage=usage, **more)


def of(target: Target, **changes: Any) -> Target:
    return replace(target, **changes)
