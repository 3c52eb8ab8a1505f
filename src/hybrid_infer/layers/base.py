"""Layer: one concern around a call; a stack is layers, outermost first, over a service."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from hybrid_infer.calls.call import Call, Replying, Service


class Layer(Protocol):
    """Passes the call on to `inner`, and may change the call, wait, repeat, refuse or look at the reply.

    One that has nothing to do once the call is on its way returns what `inner` returns, without a coroutine
    of its own.
    """

    def __call__(self, call: Call, inner: Service, /) -> Replying: ...


def stack(layers: Sequence[Layer], service: Service) -> Service:
    """`layers` around `service`, the first of them outermost."""
    for layer in reversed(layers):
        service = _around(layer, service)
    return service


def _around(layer: Layer, inner: Service) -> Service:
    act = layer.__call__  # to call the method takes half as long as to call the object

    def service(call: Call) -> Replying:
        return act(call, inner)

    return service
