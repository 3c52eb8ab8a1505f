"""What is simulated where nothing is configured."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from hybrid_infer.calls.call import Mode

SERVERLESS_MODEL = "Qwen/Qwen3.5-9B"
"""On Together's price list with 0.17 and 0.25 USD per million tokens (LiteLLM 1.109.1, 2026-11)."""

DEDICATED_MODEL = "simulated/assistant"
"""``<project slug>/<endpoint>``, the way Together names dedicated endpoints."""

MODAL_MODEL = "llm"
"""The served model name in Modal's own examples."""

DEFAULT_GPU = "H100"

DEFAULT_MODELS: Mapping[str, Mapping[Mode, tuple[str, str | None, int]]] = MappingProxyType(
    {
        "assistant": MappingProxyType(
            {
                "together-serverless": (SERVERLESS_MODEL, None, 1),
                "together-dedicated": (DEDICATED_MODEL, DEFAULT_GPU, 1),
                "modal": (MODAL_MODEL, DEFAULT_GPU, 1),
                "openai-compatible": (MODAL_MODEL, None, 1),
            }
        )
    }
)
"""By logical model and mode: the provider's name of the model, the GPU (None without a machine), how many."""
