"""Several targets behind one scripted transport: each has a script of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fakes import Answer, ScriptedTransport
from hybrid_infer.transport.base import WireRequest

SERVERLESS, DEDICATED, MODAL = "together-serverless/qwen", "together-dedicated/acme/llm", "modal/llm"

MODELS: dict[str, Any] = {
    "assistant": {
        "together-serverless": "qwen",
        "together-dedicated": {"model": "acme/llm", "gpu": "H100"},
        "modal": {"model": "llm", "url": "https://acme--llm.us-east.modal.direct", "gpu": "H100"},
    }
}

SETTINGS: dict[str, Any] = {
    "model": "assistant",
    "models": MODELS,
    "together_api_key": "k",
    "modal_key": "wk-1",
    "modal_secret": "ws-1",
}


class Places:
    """Answers each target's requests from that target's script; the last entry of a script repeats.

    An entry is what a `ScriptedTransport` takes: an Answer, an error, or a function of the request.
    """

    def __init__(
        self, *, serverless: Sequence[Any] = (), dedicated: Sequence[Any] = (), modal: Sequence[Any] = ()
    ) -> None:
        self._scripts = {SERVERLESS: serverless, DEDICATED: dedicated, MODAL: modal}
        self.asked: list[str] = []
        self.transport = ScriptedTransport([self._answer])

    def times(self, target: str) -> list[float]:
        """When each request to the target came."""
        return [sent.at for sent, name in zip(self.transport.sent, self.asked, strict=True) if name == target]

    def count(self, target: str) -> int:
        return self.asked.count(target)

    def _answer(self, request: WireRequest) -> Any:
        target = _target(request)
        script = self._scripts[target]
        entry = script[min(self.asked.count(target), len(script) - 1)]
        self.asked.append(target)
        return entry(request) if callable(entry) and not isinstance(entry, Answer) else entry


def _target(request: WireRequest) -> str:
    if "modal" in request.origin.host:
        return MODAL
    return DEDICATED if b"acme/llm" in request.content() else SERVERLESS
