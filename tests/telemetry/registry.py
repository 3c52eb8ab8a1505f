"""The semantic conventions that spans are checked against: names, types and requirement levels.

Generative AI: the table of the inference client span in semantic-conventions-genai as of 2026-10 (status
Development, no release). HTTP: the stable client span. Copied by hand; the conventions are not a dependency.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

REQUIRED, CONDITIONAL, RECOMMENDED, OPT_IN = "required", "conditionally required", "recommended", "opt-in"

GEN_AI: Mapping[str, tuple[str, str]] = {
    "gen_ai.operation.name": ("string", REQUIRED),
    "gen_ai.provider.name": ("string", REQUIRED),
    "gen_ai.request.model": ("string", CONDITIONAL),
    "gen_ai.conversation.id": ("string", CONDITIONAL),
    "gen_ai.request.stream": ("boolean", CONDITIONAL),
    "gen_ai.request.seed": ("int", CONDITIONAL),
    "gen_ai.request.choice.count": ("int", CONDITIONAL),
    "gen_ai.request.top_k": ("int", CONDITIONAL),
    "gen_ai.output.type": ("string", CONDITIONAL),
    "server.port": ("int", CONDITIONAL),
    "error.type": ("string", CONDITIONAL),
    "gen_ai.request.max_tokens": ("int", RECOMMENDED),
    "gen_ai.request.temperature": ("double", RECOMMENDED),
    "gen_ai.request.top_p": ("double", RECOMMENDED),
    "gen_ai.request.stop_sequences": ("string[]", RECOMMENDED),
    "gen_ai.request.frequency_penalty": ("double", RECOMMENDED),
    "gen_ai.request.presence_penalty": ("double", RECOMMENDED),
    "gen_ai.request.reasoning.level": ("string", RECOMMENDED),
    "gen_ai.response.id": ("string", RECOMMENDED),
    "gen_ai.response.model": ("string", RECOMMENDED),
    "gen_ai.response.finish_reasons": ("string[]", RECOMMENDED),
    "gen_ai.response.time_to_first_chunk": ("double", RECOMMENDED),
    "gen_ai.usage.input_tokens": ("int", RECOMMENDED),
    "gen_ai.usage.output_tokens": ("int", RECOMMENDED),
    "gen_ai.usage.cache_read.input_tokens": ("int", RECOMMENDED),
    "gen_ai.usage.cache_write.input_tokens": ("int", RECOMMENDED),
    "gen_ai.usage.reasoning.output_tokens": ("int", RECOMMENDED),
    "server.address": ("string", RECOMMENDED),
    "gen_ai.input.messages": ("string", OPT_IN),
    "gen_ai.output.messages": ("string", OPT_IN),
    # Not of this span's table: defined for spans of HTTP, and put on the call as other clients do.
    "http.request.resend_count": ("int", OPT_IN),
}

HTTP: Mapping[str, tuple[str, str]] = {
    "http.request.method": ("string", REQUIRED),
    "server.address": ("string", REQUIRED),
    "server.port": ("int", REQUIRED),
    "url.full": ("string", REQUIRED),
    "error.type": ("string", CONDITIONAL),
    "http.response.status_code": ("int", CONDITIONAL),
    "http.request.resend_count": ("int", RECOMMENDED),
}

COSTS: Mapping[str, str] = {
    "gen_ai.usage.cost": "double",
    "operation.cost": "double",
    "mlflow.llm.cost": "string",
    "llm.cost.total": "double",
    "llm.cost.prompt": "double",
    "llm.cost.completion": "double",
}
"""In no convention: what backends read."""

METRICS: Mapping[str, tuple[str, str]] = {
    "gen_ai.client.operation.duration": ("histogram", "s"),
    "gen_ai.client.operation.time_to_first_chunk": ("histogram", "s"),
    "gen_ai.client.token.usage": ("histogram", "{token}"),
    "gen_ai.client.inference.duration": ("histogram", "s"),
    "gen_ai.client.inference.time_to_first_chunk": ("histogram", "s"),
    "gen_ai.client.inference.operation.input_tokens": ("histogram", "{token}"),
    "gen_ai.client.inference.operation.output_tokens": ("histogram", "{token}"),
    "gen_ai.client.inference.usage.input_tokens": ("counter", "{token}"),
    "gen_ai.client.inference.usage.output_tokens": ("counter", "{token}"),
    "gen_ai.client.inference.usage.cache_read.input_tokens": ("counter", "{token}"),
    "gen_ai.client.inference.usage.reasoning.output_tokens": ("counter", "{token}"),
}
METRIC_ATTRIBUTES = {
    "gen_ai.operation.name",
    "gen_ai.provider.name",
    "gen_ai.request.model",
    "gen_ai.response.model",
    "gen_ai.token.type",
    "server.address",
    "server.port",
    "error.type",
    "hybrid_infer.mode",
}
"""Those of the conventions, and the one of our own that all metrics have."""
SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
TOKENS = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864)


def type_of(value: Any) -> str:
    """The type of an attribute's value, in the words of the registry."""
    if isinstance(value, tuple | list):
        (kind,) = {type_of(entry) for entry in value}
        return f"{kind}[]"
    return {str: "string", bool: "boolean", int: "int", float: "double"}[type(value)]


def problems(attributes: Mapping[str, Any], table: Mapping[str, tuple[str, str]]) -> list[str]:
    """What is wrong with a span's attributes: missing, unknown, or of the wrong type."""
    found = [f"{name} is missing" for name, (_, level) in table.items() if level == REQUIRED]
    found = [problem for problem in found if problem.split()[0] not in attributes]
    for name, value in attributes.items():
        wanted = COSTS.get(name) or table.get(name, (None, None))[0]
        if wanted is None and not name.startswith("hybrid_infer."):
            found.append(f"{name} is in no table")
        elif wanted is not None and type_of(value) != wanted:
            found.append(f"{name} is {type_of(value)}, and must be {wanted}")
    return found
