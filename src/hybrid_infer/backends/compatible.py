"""Any server that speaks OpenAI's chat completions: vLLM, SGLang, Ollama, llama.cpp, gateways."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from hybrid_infer.backends.base import Address, Credentials, Secret, bearer, no_credentials
from hybrid_infer.backends.error_body import ErrorBody
from hybrid_infer.backends.openai_wire import OpenAIBackend
from hybrid_infer.backends.provider_errors import Hints
from hybrid_infer.calls.call import Call
from hybrid_infer.errors import (
    APIError,
    AuthenticationError,
    ColdError,
    NotFoundError,
    OverloadedError,
    RateLimitError,
    RedirectError,
    Verdict,
)

SESSION_NOT_SENT = "session was not sent: OpenAI-compatible servers have no common option for it"


class CompatibleBackend(OpenAIBackend):
    """An OpenAI-compatible server.

    Args:
        api_key: sent as a bearer token; None sends no credential.
    """

    # An engine's 503 says that its queue is full.
    verdicts: ClassVar[Mapping[type[APIError], Verdict]] = {OverloadedError: "saturated"}
    hints: ClassVar[Hints] = {
        AuthenticationError: "set HYBRID_INFER_API_KEY to the key that the server expects",
        NotFoundError: "check the base URL, and the name of the model: GET /v1/models lists what is served",
        RateLimitError: "send fewer requests at a time",
        OverloadedError: "the server has no room now: try later",
        ColdError: "the server is loading the model",
        RedirectError: "set HYBRID_INFER_BASE_URL to the address it redirects to, if you trust it",
    }

    def __init__(self, *, address: Address, api_key: Secret | None = None) -> None:
        none = Credentials(write=no_credentials)
        super().__init__(address, none if api_key is None else Credentials(api_key, write=bearer))

    def attach_session(self, call: Call, session: str, body: dict[str, Any], headers: dict[str, str]) -> None:
        """Say once that there is no place for it."""
        if SESSION_NOT_SENT not in call.tally.warnings:
            call.tally.warnings.append(SESSION_NOT_SENT)

    def is_cold(self, status: int, body: ErrorBody) -> bool:
        """llama.cpp answers 503 `unavailable_error`, "Loading model", at the start (README, 2026-10)."""
        return status == 503 and ("unavailable_error" in body.codes or body.message == "Loading model")
