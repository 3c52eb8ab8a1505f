"""Modal over HTTP: servers and endpoints at ``*.modal.direct``, web functions at ``*.modal.run``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from hybrid_infer.backends.base import (
    Address,
    Credentials,
    HeaderPairs,
    Secret,
    bearer,
    checked_value,
    no_credentials,
)
from hybrid_infer.backends.error_body import ErrorBody
from hybrid_infer.backends.openai_wire import OpenAIBackend
from hybrid_infer.backends.provider_errors import Hints
from hybrid_infer.calls.call import Call
from hybrid_infer.errors import (
    APIError,
    AuthenticationError,
    ColdError,
    ConfigurationError,
    NotFoundError,
    OverloadedError,
    PermissionDeniedError,
    RateLimitError,
    RedirectError,
    Verdict,
)

_SHARED_GATEWAY = re.compile(r"inference\.[a-z0-9-]+\.modal\.direct")

SESSION_HEADER = "modal-routing-affinity-key"
"""Calls with one value go to one container while it lives (Modal docs, servers, 2026-10)."""


class ModalBackend(OpenAIBackend):
    """An OpenAI-compatible engine (vLLM, SGLang, …) on Modal.

    Args:
        key, secret: a proxy token (``wk-…`` and ``ws-…``), sent as ``Modal-Key`` and ``Modal-Secret``; on the
            shared gateway as one bearer token.
        api_key: a bearer key: the engine's own, beside a proxy token or alone, or a combined proxy token.

    Raises:
        ConfigurationError: one half of the proxy token is missing.
    """

    # An engine's 503 says that its queue is full.
    verdicts: ClassVar[Mapping[type[APIError], Verdict]] = {OverloadedError: "saturated"}
    hints: ClassVar[Hints] = {
        AuthenticationError: "set HYBRID_INFER_MODAL_KEY (wk-…) and HYBRID_INFER_MODAL_SECRET (ws-…) to a "
        "proxy token, made with `modal workspace proxy-tokens create`; an account token (ak-…, as-…) is not "
        "one. A key of the engine itself goes into HYBRID_INFER_MODAL_API_KEY",
        PermissionDeniedError: "allow the proxy token in the Modal environment that the server runs in",
        NotFoundError: "check the address, that the app is deployed, and the model's name (GET /v1/models)",
        RateLimitError: "all containers have the requests they take: send fewer at a time, or allow more",
        OverloadedError: "the engine has no room now: try later, or allow more containers",
        ColdError: "no container is running yet; this request starts one, unless the app is stopped",
        RedirectError: "modal.run redirects requests longer than 150 s to their result on the same host; any "
        "other redirect means that the address is wrong",
    }

    def __init__(
        self,
        *,
        address: Address,
        key: Secret | None = None,
        secret: Secret | None = None,
        api_key: Secret | None = None,
    ) -> None:
        super().__init__(address, _credentials(address, key, secret, api_key))

    def attach_session(self, call: Call, session: str, body: dict[str, Any], headers: dict[str, str]) -> None:
        headers[SESSION_HEADER] = checked_value("session", session)

    def is_cold(self, status: int, body: ErrorBody) -> bool:
        """Modal's proxy answers 503 while no container is ready; a busy engine says so in an error object.

        There is no queue, and the refused request starts the container (Modal docs, servers, 2026-10).
        """
        return status == 503 and not body.structured


def is_shared_gateway(address: Address) -> bool:
    """Whether the address is that of Modal's shared endpoints, which are paid by token.

    They take ``Bearer <key>.<secret>`` (Modal docs, shared endpoints, 2026-10).
    """
    return _SHARED_GATEWAY.fullmatch(address.origin.host) is not None


def _credentials(
    address: Address, key: Secret | None, secret: Secret | None, api_key: Secret | None
) -> Credentials:
    if (key is None) != (secret is None):
        raise ConfigurationError("a Modal proxy token has two halves: give both key (wk-…) and secret (ws-…)")
    if key is None or secret is None:
        return Credentials(write=no_credentials) if api_key is None else Credentials(api_key, write=bearer)
    if is_shared_gateway(address):
        return Credentials(key, secret, write=_combined)
    if api_key is None:
        return Credentials(key, secret, write=_proxy_token)
    return Credentials(key, secret, api_key, write=_proxy_token_and_key)


def _combined(key: str, secret: str) -> HeaderPairs:
    return bearer(f"{key}.{secret}")


def _proxy_token(key: str, secret: str) -> HeaderPairs:
    return (("modal-key", key), ("modal-secret", secret))


def _proxy_token_and_key(key: str, secret: str, api_key: str) -> HeaderPairs:
    return (*_proxy_token(key, secret), *bearer(api_key))
