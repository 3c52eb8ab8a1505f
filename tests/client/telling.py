"""Machines that are cold at times, and what a client's hooks are told of them."""

from __future__ import annotations

from typing import Any

from both import Api
from fakes import Answer, ScriptedTransport, said
from hybrid_infer import HookEvent
from hybrid_infer.hooks import HOOKS
from hybrid_infer.transport.base import WireRequest

MODAL: dict[str, Any] = {
    "mode": "modal",
    "modal_url": "https://acme--llm.us-east.modal.direct",
    "modal_key": "wk-1",
    "modal_secret": "ws-1",
    "model": "llm",
}
COLD = Answer(503, (b"no container is running",), (("content-type", "text/plain"),))
MODELS = said({"object": "list", "data": [{"id": "llm", "object": "model"}]})


class Machine:
    """Answers 503 at the times when it is cold, as *.modal.direct does."""

    def __init__(self, *cold: tuple[float, float], answer: Answer | None = None) -> None:
        self.cold = cold
        self.says = answer or said()
        self.transport = ScriptedTransport([self.answer])

    def answer(self, request: WireRequest) -> Answer:
        now = self.transport.runtime.now()
        if any(begin <= now < end for begin, end in self.cold):
            return COLD
        return MODELS if request.method == "GET" else self.says


def told(api: Api, *names: str) -> list[HookEvent]:
    """What the hooks of these names are told from now on; of all of them where none is named."""
    events: list[HookEvent] = []
    for name in names or HOOKS:
        getattr(api.client.hooks, name)(events.append)
    return events
