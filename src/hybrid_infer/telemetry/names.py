"""Every name that telemetry emits, and nothing else. Changed only together with `EDITION`.

`gen_ai.*` follow the OpenTelemetry semantic conventions for generative AI as of 2026-10 (status Development,
repository semantic-conventions-genai, which has no releases); `http.*`, `server.*`, `url.*` and `error.type`
are stable conventions. `hybrid_infer.*` is this package's own contract: no name is given another meaning.

Costs are in no convention yet. What backends read (in their source, 2026-08 to 2026-11) stands under
"what backends read".
"""

from __future__ import annotations

from typing import Final

EDITION: Final = 2
"""Of the names under `hybrid_infer.*`. It rises when one is added, and nothing else happens to them."""

SCOPE: Final = "hybrid_infer"
ATTEMPT: Final = "POST"
"""How attempt spans are called: by their method, as the conventions for HTTP have it."""

CAPTURE_CONTENT: Final = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
"""The standard variable: NO_CONTENT, SPAN_ONLY, EVENT_ONLY or SPAN_AND_EVENT."""

# Generative AI: what was asked.
OPERATION_NAME: Final = "gen_ai.operation.name"
PROVIDER_NAME: Final = "gen_ai.provider.name"
CONVERSATION_ID: Final = "gen_ai.conversation.id"
OUTPUT_TYPE: Final = "gen_ai.output.type"
REQUEST_MODEL: Final = "gen_ai.request.model"
REQUEST_STREAM: Final = "gen_ai.request.stream"
REQUEST_MAX_TOKENS: Final = "gen_ai.request.max_tokens"
REQUEST_TEMPERATURE: Final = "gen_ai.request.temperature"
REQUEST_TOP_P: Final = "gen_ai.request.top_p"
REQUEST_TOP_K: Final = "gen_ai.request.top_k"
REQUEST_STOP_SEQUENCES: Final = "gen_ai.request.stop_sequences"
REQUEST_FREQUENCY_PENALTY: Final = "gen_ai.request.frequency_penalty"
REQUEST_PRESENCE_PENALTY: Final = "gen_ai.request.presence_penalty"
REQUEST_SEED: Final = "gen_ai.request.seed"
REQUEST_CHOICE_COUNT: Final = "gen_ai.request.choice.count"
REQUEST_REASONING_LEVEL: Final = "gen_ai.request.reasoning.level"
INPUT_MESSAGES: Final = "gen_ai.input.messages"

# Generative AI: what came.
RESPONSE_ID: Final = "gen_ai.response.id"
RESPONSE_MODEL: Final = "gen_ai.response.model"
RESPONSE_FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
RESPONSE_TIME_TO_FIRST_CHUNK: Final = "gen_ai.response.time_to_first_chunk"
USAGE_INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
USAGE_OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
USAGE_CACHE_READ_INPUT_TOKENS: Final = "gen_ai.usage.cache_read.input_tokens"
USAGE_REASONING_OUTPUT_TOKENS: Final = "gen_ai.usage.reasoning.output_tokens"
OUTPUT_MESSAGES: Final = "gen_ai.output.messages"
TOKEN_TYPE: Final = "gen_ai.token.type"  # noqa: S105 - of a language model, not of an account

# HTTP, servers, errors.
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"
ERROR_TYPE: Final = "error.type"
URL_FULL: Final = "url.full"
HTTP_REQUEST_METHOD: Final = "http.request.method"
HTTP_REQUEST_RESEND_COUNT: Final = "http.request.resend_count"
HTTP_RESPONSE_STATUS_CODE: Final = "http.response.status_code"

# Cost: what backends read. All are USD.
USAGE_COST: Final = "gen_ai.usage.cost"
"""Langfuse, OpenLIT, PostHog. A double."""
OPERATION_COST: Final = "operation.cost"
"""Logfire, as attribute and as metric. A double."""
MLFLOW_COST: Final = "mlflow.llm.cost"
"""MLflow. A JSON object with input_cost, output_cost and total_cost."""
LLM_COST_TOTAL: Final = "llm.cost.total"
LLM_COST_PROMPT: Final = "llm.cost.prompt"
LLM_COST_COMPLETION: Final = "llm.cost.completion"
"""The conventions of OpenInference; Langfuse falls back to them. Doubles."""

# Our own: where and how.
MODE: Final = "hybrid_infer.mode"
TARGET: Final = "hybrid_infer.target"
ATTEMPTS: Final = "hybrid_infer.attempts"
LANE: Final = "hybrid_infer.lane"
HEDGED: Final = "hybrid_infer.hedged"
ATTEMPTS_LOST: Final = "hybrid_infer.attempts_lost"
RESTARTS: Final = "hybrid_infer.restarts"
OVERFLOW: Final = "hybrid_infer.overflow"
PURPOSE: Final = "hybrid_infer.purpose"
QUEUE_WAIT: Final = "hybrid_infer.queue_wait"
COLD_START: Final = "hybrid_infer.cold_start"
COLD_WAIT: Final = "hybrid_infer.cold_wait"
VERDICT: Final = "hybrid_infer.verdict"
ABANDONED: Final = "hybrid_infer.abandoned"
CACHE: Final = "hybrid_infer.cache"
CACHE_HIT: Final = "hybrid_infer.cache_hit"
REQUEST_ID: Final = "hybrid_infer.request_id"
LARGE_SEED: Final = "hybrid_infer.request.seed"
"""A seed past what the integer of `gen_ai.request.seed` holds, as text."""
SIMULATED: Final = "hybrid_infer.simulated"

# Our own: cost.
COST_AMOUNT: Final = "hybrid_infer.cost.amount"
COST_CURRENCY: Final = "hybrid_infer.cost.currency"
COST_BASIS: Final = "hybrid_infer.cost.basis"
COST_ESTIMATED: Final = "hybrid_infer.cost.estimated"
COST_FINAL: Final = "hybrid_infer.cost.final"
COST_SOURCE: Final = "hybrid_infer.cost.source"
COST_PRICED_AT: Final = "hybrid_infer.cost.priced_at"
COST_REASON: Final = "hybrid_infer.cost.reason"
COST_PARTS: Final = {
    "input": "hybrid_infer.cost.parts.input",
    "cached": "hybrid_infer.cost.parts.cached",
    "output": "hybrid_infer.cost.parts.output",
    "machine_time": "hybrid_infer.cost.parts.machine_time",
    "request": "hybrid_infer.cost.parts.request",
    "attempts": "hybrid_infer.cost.parts.attempts",
    "cold_start": "hybrid_infer.cost.parts.cold_start",
}
EQUIVALENTS: Final = {
    "tokens": ("hybrid_infer.cost.equivalent.tokens.amount", "hybrid_infer.cost.equivalent.tokens.where"),
    "machine-time": (
        "hybrid_infer.cost.equivalent.machine_time.amount",
        "hybrid_infer.cost.equivalent.machine_time.where",
    ),
    "request": ("hybrid_infer.cost.equivalent.request.amount", "hybrid_infer.cost.equivalent.request.where"),
}
"""What the call would have cost on another basis, and where, by that basis."""

# Metrics of generative AI, in the edition that dashboards read in 2026-11 (v1.41) and in that of 2026-10.
DURATION_1_41: Final = "gen_ai.client.operation.duration"
FIRST_CHUNK_1_41: Final = "gen_ai.client.operation.time_to_first_chunk"
TOKENS_1_41: Final = "gen_ai.client.token.usage"
DURATION_2026: Final = "gen_ai.client.inference.duration"
FIRST_CHUNK_2026: Final = "gen_ai.client.inference.time_to_first_chunk"
INPUT_PER_CALL_2026: Final = "gen_ai.client.inference.operation.input_tokens"
OUTPUT_PER_CALL_2026: Final = "gen_ai.client.inference.operation.output_tokens"
TOKEN_COUNTS_2026: Final = {
    "input_tokens": "gen_ai.client.inference.usage.input_tokens",
    "output_tokens": "gen_ai.client.inference.usage.output_tokens",
    "cached_tokens": "gen_ai.client.inference.usage.cache_read.input_tokens",
    "reasoning_tokens": "gen_ai.client.inference.usage.reasoning.output_tokens",
}

# Metrics of our own.
CLIENT_COST: Final = "hybrid_infer.client.cost"
CLIENT_IN_FLIGHT: Final = "hybrid_infer.client.in_flight"
CLIENT_QUEUE_WAIT: Final = "hybrid_infer.client.queue_wait"
CLIENT_COLD_WAIT: Final = "hybrid_infer.client.cold_wait"
CLIENT_COLD_STARTS: Final = "hybrid_infer.client.cold_starts"
CLIENT_OVERFLOWS: Final = "hybrid_infer.client.overflows"
CLIENT_RESENDS: Final = "hybrid_infer.client.resends"
CLIENT_HEDGES: Final = "hybrid_infer.client.hedges"
CLIENT_RESTARTS: Final = "hybrid_infer.client.restarts"
CLIENT_CACHE_HITS: Final = "hybrid_infer.client.cache_hits"
