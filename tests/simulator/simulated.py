"""Requests to a simulated world, and what comes back."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from hybrid_infer.calls.call import Mode
from hybrid_infer.simulator.exchange import Exchange, Headers, Request
from hybrid_infer.simulator.world import Provider, World

BEARER = {"authorization": "Bearer key"}
PROXY_TOKEN = {"modal-key": "wk-1", "modal-secret": "ws-1"}
SERVERLESS, DEDICATED, MODAL = "Qwen/Qwen3.5-9B", "simulated/assistant", "llm"


@dataclass(frozen=True, kw_only=True)
class Got:
    """A complete answer and when its first and last bytes came."""

    status: int
    headers: Headers
    body: bytes
    first: float
    last: float

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def events(self) -> list[Any]:
        """The data of a stream, without its end mark."""
        lines = self.body.decode().split("\n\n")
        assert lines[-2:] == ["data: [DONE]", ""]
        return [json.loads(line.removeprefix("data: ")) for line in lines[:-2]]

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name), None)


def post(
    *, model: str | None = SERVERLESS, text: str = "Why is the sky blue?", headers: Any = None, **fields: Any
) -> Request:
    """A chat request with both providers' credentials."""
    body = {"messages": [{"role": "user", "content": text}], **fields}
    if model is not None:
        body["model"] = model
    return Request(
        method="POST",
        path="/v1/chat/completions",
        headers={**BEARER, **PROXY_TOKEN} if headers is None else headers,
        body=json.dumps(body).encode(),
    )


def get(path: str, headers: Any = None) -> Request:
    return Request(method="GET", path=path, headers={**BEARER, **PROXY_TOKEN} if headers is None else headers)


def finish(exchange: Exchange, now: float) -> Got:
    """Poll when asked to until the answer is complete."""
    first: float | None = None
    status: int | None = None
    headers: Headers = ()
    pieces: list[bytes] = []
    while True:
        step = exchange.poll(now)
        if step.status is not None and first is None:
            first, status, headers = now, step.status, step.headers
        pieces += step.pieces
        if step.done:
            assert first is not None and status is not None
            return Got(status=status, headers=headers, body=b"".join(pieces), first=first, last=now)
        assert step.wake is not None
        now = max(step.wake, now)


def ask(
    world: World, provider: Provider, request: Request, now: float = 0.0, *, mode: Mode | None = None
) -> Got:
    """Send and finish."""
    return finish(world.receive(provider, request, now, mode=mode), now)
