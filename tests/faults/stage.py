"""What a case plays on: simulated providers that write down each request, and a client of either colour."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from pydantic_core import from_json

from both import Api
from hybrid_infer.aclient import AsyncClient
from hybrid_infer.calls.call import Mode
from hybrid_infer.client import Client
from hybrid_infer.colours import blocking as threads
from hybrid_infer.colours import tasks
from hybrid_infer.core import Core
from hybrid_infer.runtime.base import Runtime
from hybrid_infer.settings import Settings
from hybrid_infer.simulator.defaults import DEDICATED_MODEL
from hybrid_infer.simulator.exchange import Exchange, Request
from hybrid_infer.simulator.faults import Fault
from hybrid_infer.simulator.modal import ModalPlan
from hybrid_infer.simulator.world import Provider, World


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """One request as the providers saw it. `at` is in the client's seconds."""

    mode: Mode
    at: float
    asked: bool
    """It asks for an answer; the others are probes and results that a redirect led to."""
    probe: bool
    fault: Fault | None


class RecordedWorld(World):
    """A world that writes down what arrives, in order. Its Modal container is up from the beginning.

    Args:
        clock: the client's, where it is not that of who carries the requests.
    """

    def __init__(self, clock: Callable[[], float] | None = None) -> None:
        super().__init__(modal=ModalPlan(cold_start=0.0, cold_start_large=0.0, scaledown_window=1e6))
        self.arrived: list[Arrived] = []
        self._clock = clock
        knock = Request(method="GET", path="/v1/models", headers={"modal-key": "wk", "modal-secret": "ws"})
        self.receive("modal", knock, 0.0).cancel(0.0)
        self.arrived.clear()

    def receive(
        self, provider: Provider, request: Request, now: float, *, mode: Mode | None = None
    ) -> Exchange:
        before = [rule.fired for rule in self.fired()]
        exchange = super().receive(provider, request, now, mode=mode)
        fired = [row.rule.fault for row, was in zip(self.fired(), before, strict=True) if row.fired > was]
        body: Any = from_json(request.body) if request.body else {}
        if mode is None:
            dedicated = body.get("model") == DEDICATED_MODEL
            together: Mode = "together-dedicated" if dedicated else "together-serverless"
            mode = "modal" if provider == "modal" else together
        probe = request.path.endswith("/models") or body.get("max_tokens") == 1
        self.arrived.append(
            Arrived(
                mode=mode,
                at=now if self._clock is None else self._clock(),
                asked=request.method == "POST" and not probe,
                probe=probe,
                fault=fired[0] if fired else None,
            )
        )
        return exchange


class CountedSpans(SpanProcessor):
    """Counts spans as they begin and end."""

    def __init__(self) -> None:
        self.open: dict[int, str] = {}
        self.ended: list[str] = []
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(self)

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        self.open[span.context.span_id] = span.name

    def on_end(self, span: ReadableSpan) -> None:
        name = self.open.pop(span.context.span_id, None) if span.context is not None else None
        self.ended.append(name or f"{span.name}, which ended twice")

    def clear(self) -> None:
        self.open.clear()
        self.ended.clear()


def client(
    runtime: Runtime,
    *,
    world: World | None,
    spans: CountedSpans,
    environ: Mapping[str, str] | None = None,
    **settings: Any,
) -> Api:
    """A client of the runtime's colour, of the world or, where there is none, over real sockets."""
    blocking = runtime.name.startswith("blocking")
    colour = replace(threads() if blocking else tasks(), runtime=runtime)
    loaded = Settings.load({**settings, "simulate": world is not None}, environ=environ or {})
    made: Any = object.__new__(Client if blocking else AsyncClient)
    made._core = Core(loaded, colour, None, spans.provider, world)
    made._defaults = {}
    return Api(made, runtime)
