"""Together's control plane as a simulated world, and the real `together` package of either colour."""

from __future__ import annotations

import inspect
import json
from typing import Any

from hybrid_infer.endpoints.together import TogetherEndpoint
from hybrid_infer.endpoints.together_control import Creation
from hybrid_infer.runtime.base import Runtime
from hybrid_infer.runtime.tasks import TaskRuntime
from hybrid_infer.runtime.virtual import VirtualThreads
from hybrid_infer.simulator.exchange import Exchange, Request
from hybrid_infer.simulator.httpx_door import together_package
from hybrid_infer.simulator.world import World

BEARER = {"authorization": "Bearer key"}
MODEL = "simulated/assistant"
WEIGHTS = Creation(weights="Qwen/Qwen3.5-9B", gpu="H100")


async def settled(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


class Cloud:
    """A world in the virtual time of one colour."""

    def __init__(self, colour: str, **plans: Any) -> None:
        self.world = World(**plans)
        self.blocking = colour == "sync"
        self.runtime: Runtime = VirtualThreads() if self.blocking else TaskRuntime()
        self.runtime.check()  # as a client does before each call: from now on the loop's time counts
        self.clients: list[Any] = []

    def connect(self) -> Any:
        """A client of the package, unchanged, whose requests end in the world."""
        made = together_package(self.world, runtime=self.runtime, blocking=self.blocking)
        self.clients.append(made)
        return made

    def endpoint(self, model: str = MODEL, **options: Any) -> TogetherEndpoint:
        return TogetherEndpoint(model, runtime=self.runtime, connect=self.connect, **options)

    def ask(self, model: str = MODEL) -> int | str:
        """The status of a request to the model, or the code of its refusal."""
        body = json.dumps({"model": model, "messages": [{"role": "user", "content": "Hello"}]}).encode()
        request = Request(method="POST", path="/v1/chat/completions", headers=BEARER, body=body)
        now = self.runtime.now()
        exchange = self.world.receive("together", request, now, mode="together-dedicated")
        step = exchange.poll(now)
        if step.status is None:  # it is being answered
            exchange.cancel(now)
            return 200
        code: str = json.loads(b"".join(step.pieces))["error"]["code"]
        return code

    def begin(self, *, tokens: int) -> Exchange:
        """A request that runs for a while."""
        ask = {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": tokens}
        body = json.dumps({**ask, "min_tokens": tokens}).encode()
        request = Request(method="POST", path="/v1/chat/completions", headers=BEARER, body=body)
        return self.world.receive("together", request, self.runtime.now(), mode="together-dedicated")

    def control(self, method: str, path: str, body: bytes = b"") -> Any:
        """A request of somebody else to the control plane; its answer."""
        request = Request(method=method, path=path, headers=BEARER, body=body)
        step = self.world.receive("together", request, self.runtime.now()).poll(self.runtime.now())
        return step.status, json.loads(b"".join(step.pieces))
