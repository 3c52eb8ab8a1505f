"""Every attribute name the package emits.

`gen_ai.*` follow the OpenTelemetry semantic conventions for generative AI as of 2026-10 (status Development,
repository semantic-conventions-genai); `http.*`, `server.*`, `url.*` and `error.type` are stable conventions;
`gen_ai.usage.cost` is not in the conventions and is what Langfuse, OpenLIT and PostHog read;
`hybrid_infer.*` is this package's own stable contract.
"""

from __future__ import annotations

from typing import Final

SCOPE: Final = "hybrid_infer"

OPERATION_NAME: Final = "gen_ai.operation.name"
PROVIDER_NAME: Final = "gen_ai.provider.name"
CONVERSATION_ID: Final = "gen_ai.conversation.id"

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

RESPONSE_ID: Final = "gen_ai.response.id"
RESPONSE_MODEL: Final = "gen_ai.response.model"
RESPONSE_FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
RESPONSE_TIME_TO_FIRST_CHUNK: Final = "gen_ai.response.time_to_first_chunk"

USAGE_INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
USAGE_OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
USAGE_CACHE_READ_INPUT_TOKENS: Final = "gen_ai.usage.cache_read.input_tokens"
USAGE_REASONING_OUTPUT_TOKENS: Final = "gen_ai.usage.reasoning.output_tokens"
USAGE_COST: Final = "gen_ai.usage.cost"

SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"
ERROR_TYPE: Final = "error.type"
HTTP_REQUEST_METHOD: Final = "http.request.method"
HTTP_REQUEST_RESEND_COUNT: Final = "http.request.resend_count"
HTTP_RESPONSE_STATUS_CODE: Final = "http.response.status_code"

MODE: Final = "hybrid_infer.mode"
TARGET: Final = "hybrid_infer.target"
ATTEMPTS: Final = "hybrid_infer.attempts"
PURPOSE: Final = "hybrid_infer.purpose"
COLD_START: Final = "hybrid_infer.cold_start"
COLD_WAIT: Final = "hybrid_infer.cold_wait"
SIMULATED: Final = "hybrid_infer.simulated"
COST_AMOUNT: Final = "hybrid_infer.cost.amount"
COST_CURRENCY: Final = "hybrid_infer.cost.currency"
COST_BASIS: Final = "hybrid_infer.cost.basis"
COST_ESTIMATED: Final = "hybrid_infer.cost.estimated"
COST_SOURCE: Final = "hybrid_infer.cost.source"
