"""Together, serverless and dedicated."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from hybrid_infer.backends.base import Address, Credentials, Secret, bearer
from hybrid_infer.backends.openai_wire import OpenAIBackend, encoded
from hybrid_infer.backends.provider_errors import Hints
from hybrid_infer.calls.call import Call, Target
from hybrid_infer.calls.operations import Operation
from hybrid_infer.errors import (
    AuthenticationError,
    ColdError,
    NotFoundError,
    OverloadedError,
    PaymentRequiredError,
    PermissionDeniedError,
    RateLimitError,
    RedirectError,
    StreamingRequiredError,
)
from hybrid_infer.transport.base import WireRequest

CHAT_URL = "https://api-inference.together.ai"
"""Where the `together` package (3.0 and later, 2026-10) sends chat completions if no base URL is given."""

OTHER_URL = "https://api.together.ai"
"""Where it sends everything else."""

_NO_ROUTE = "give the deployment a weight in the endpoint's traffic split, and at least 1 replica"

_SIZE = re.compile(r"(\d+)x(\d+)")
_PURPOSES: Mapping[str, str] = {"batch": "batch-api"}


class TogetherBackend(OpenAIBackend):
    """Both Together modes: dedicated endpoints differ in the name of the model (``slug/endpoint``).

    Args:
        chat: address of chat completions.
        other: address of everything else, e.g. the list of models.
    """

    needs_model: ClassVar[bool] = True
    hints: ClassVar[Hints] = {
        "model_not_available": "the model is not serverless: create a dedicated endpoint for it and use mode "
        "together-dedicated, or choose another model",
        "endpoint_not_configured": _NO_ROUTE,
        "routing_error": _NO_ROUTE,
        AuthenticationError: "set TOGETHER_API_KEY to a key from https://api.together.ai/settings/api-keys",
        PaymentRequiredError: "add credit or raise the limit at https://api.together.ai/settings/billing",
        PermissionDeniedError: "the key may not use this model, or prompt and max_tokens together are beyond "
        "the model's context",
        NotFoundError: "check the name of the model; a dedicated endpoint is called <project>/<endpoint>",
        RateLimitError: "send fewer requests at a time: Together's limits follow your recent traffic",
        OverloadedError: "the platform has no room for this model now: try later, or use another mode",
        ColdError: "start the endpoint: at least 1 replica; it does not start by itself",
        StreamingRequiredError: "ask for a stream (stream=True)",
        RedirectError: "set TOGETHER_BASE_URL to the address it redirects to, if you trust it",
    }

    def __init__(self, *, chat: Address, other: Address, api_key: Secret) -> None:
        super().__init__(chat, Credentials(api_key, write=bearer))
        self.other = other

    def address(self, operation: Operation) -> Address:
        """Chat has a host of its own."""
        return self._address if operation == "chat" else self.other

    def shaped(self, call: Call, path: str, body: dict[str, Any]) -> str:
        """Together's own names (docs and `together` 3.1.1, 2026-10) for what OpenAI calls otherwise."""
        if call.operation == "images":
            if body.get("response_format") == "b64_json":
                body["response_format"] = "base64"
            if (size := _SIZE.fullmatch(str(body.get("size")))) is not None:
                del body["size"]
                body["width"], body["height"] = int(size[1]), int(size[2])
        elif call.operation == "files.create" and call.upload is not None:
            body["purpose"] = _PURPOSES.get(body["purpose"], body["purpose"])
            body.setdefault("file_name", call.upload.filename)
            return "/v1/files/upload"
        return path

    def attach_session(self, call: Call, session: str, body: dict[str, Any], headers: dict[str, str]) -> None:
        """Calls with one `prompt_cache_key` go to one deployment (Together docs, 2026-10)."""
        if call.operation in ("chat", "completions"):
            body.setdefault("prompt_cache_key", session)

    def probe(self, target: Target) -> WireRequest | None:
        """One token from a dedicated endpoint; its control plane can say ready while requests are refused."""
        if target.mode != "together-dedicated" or target.model is None:
            return None
        messages = [{"role": "user", "content": "Hi"}]
        return WireRequest(
            method="POST",
            origin=self._address.origin,
            path=f"{self._address.prefix}/v1/chat/completions",
            headers=(*self._json_headers, *self._credentials.headers()),
            body=encoded({"model": target.model, "messages": messages, "max_tokens": 1}),
        )
