"""A world's Modal in virtual time, and endpoints on it."""

from __future__ import annotations

from typing import Any

from hybrid_infer.backends.knock import Knock
from hybrid_infer.backends.registry import connect
from hybrid_infer.endpoints.modal import ModalEndpoint, modal_endpoint
from hybrid_infer.endpoints.modal_autoscaler import Autoscaler, Bounds, Container, Runners, ScaledName
from hybrid_infer.runtime.base import Runtime
from hybrid_infer.runtime.tasks import TaskRuntime
from hybrid_infer.runtime.virtual import VirtualThreads
from hybrid_infer.settings import Settings
from hybrid_infer.simulator.autoscaler_door import simulated_autoscaler
from hybrid_infer.simulator.autoscaling import Autoscaling
from hybrid_infer.simulator.door import SimulatedTransport
from hybrid_infer.simulator.exchange import Request
from hybrid_infer.simulator.world import World
from hybrid_infer.transport.functions import Cause, FunctionFailure

URL = "https://acme--assistant-server.us-east.modal.direct"
TOKEN = ("ak-0123456789", "as-9876543210")
PROXY = {"modal-key": "wk-1", "modal-secret": "ws-1"}

MODELS: dict[str, Any] = {
    "detector": {"modal": {"function": "detector/detect"}},
    "class": {"modal": {"function": "detector/Detector.detect"}},
    "server": {"modal": {"url": URL, "server": "assistant/Server", "gpu": "H100"}},
    "unnamed": {"modal": {"url": URL, "gpu": "H100"}},
    "shared": {"modal": {"url": "https://inference.us-west.modal.direct", "model": "glm"}},
    "elsewhere": {"together-dedicated": "acme/assistant"},
}
KEYS = {"modal_key": "wk-1", "modal_secret": "ws-1"}


def settings(**more: Any) -> Settings:
    return Settings.load({"models": MODELS, **KEYS, **more}, environ={})


class Workspace:
    """A world in the virtual time of one colour."""

    def __init__(self, colour: str, **plans: Any) -> None:
        self.world = World(**plans)
        self.blocking = colour == "sync"
        self.runtime: Runtime = VirtualThreads() if self.blocking else TaskRuntime()
        self.runtime.check()  # as a client does before each call: from now on the loop's time counts

    @property
    def autoscaling(self) -> Autoscaling:
        return self.world.autoscaling

    def endpoint(self, name: str, *, scaled: bool = True, transport: Any = None, **options: Any) -> Any:
        """As a client with this simulated workspace makes it."""
        carries = transport or SimulatedTransport(self.world, runtime=self.runtime, mode="modal")
        made: ModalEndpoint = modal_endpoint(
            settings(),
            name,
            runtime=self.runtime,
            blocking=self.blocking,
            knock=None if "/" in name else Knock(connect("modal", settings(), name), carries),
            connect=options.pop("connect", self.connect if scaled else None),
            environ={"MODAL_CONFIG_PATH": "/nonexistent"},
            **options,
        )
        return made

    def connect(self, name: ScaledName) -> Autoscaler:
        """The autoscaler of one object of the world."""
        return simulated_autoscaler(self.world, runtime=self.runtime)(name)

    def ask(self) -> int:
        """The status of somebody's question to the server."""
        now = self.runtime.now()
        request = Request(method="GET", path="/v1/models", headers=PROXY)
        status = self.world.receive("modal", request, now, mode="modal").poll(now).status
        assert status is not None
        return status

    def billed(self) -> float:
        """Container-seconds of the server so far."""
        return self.world.invoice(self.runtime.now()).modal.seconds

    def idle(self) -> float:
        """Container-seconds of functions so far in which no input ran."""
        return sum(use.seconds for use in self.autoscaling.idle(self.runtime.now()))


class Flaky:
    """An autoscaler that fails while it is told to, and tells of a container what it is told."""

    def __init__(
        self,
        workspace: Workspace,
        *,
        cause: Cause = "unavailable",
        until: float = 0.0,
        container: Container | None = None,
    ) -> None:
        self.workspace = workspace
        self.cause: Cause = cause
        self.until = until
        self.told = container
        self.open = 0

    def __call__(self, name: ScaledName) -> Autoscaler:
        self.open += 1
        return _FlakyOne(self, self.workspace.connect(name))


class _FlakyOne:
    def __init__(self, flaky: Flaky, inner: Autoscaler) -> None:
        self._flaky = flaky
        self._inner = inner

    def _fail(self) -> None:
        if self._flaky.workspace.runtime.now() < self._flaky.until:
            raise FunctionFailure("Service unavailable", cause=self._flaky.cause, stage="look-up")

    async def bounds(self, until: float) -> Bounds:
        self._fail()
        return await self._inner.bounds(until)

    async def scale(self, until: float, *, minimum: int, maximum: int | None = None) -> Bounds:
        self._fail()
        return await self._inner.scale(until, minimum=minimum, maximum=maximum)

    async def runners(self, until: float) -> Runners:
        self._fail()
        return await self._inner.runners(until)

    async def container(self, until: float) -> Container:
        self._fail()
        return self._flaky.told or await self._inner.container(until)

    async def aclose(self) -> None:
        self._flaky.open -= 1
        await self._inner.aclose()
