"""Layer: one concern around a call; a stack is layers, outermost first, over a service."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import Any, Protocol

from hybrid_infer.calls.call import Call, Service
from hybrid_infer.calls.reply import Reply


class Layer(Protocol):
    """Passes the call on to `inner`, and may change the call, wait, repeat, refuse or look at the reply."""

    async def __call__(self, call: Call, inner: Service, /) -> Reply: ...


def stack(layers: Sequence[Layer], service: Service) -> Service:
    """`layers` around `service`, the first of them outermost."""
    for layer in reversed(layers):
        service = _around(layer, service)
    return service


def _around(layer: Layer, inner: Service) -> Service:
    def service(call: Call) -> Coroutine[Any, Any, Reply]:
        return layer(call, inner)

    return service
