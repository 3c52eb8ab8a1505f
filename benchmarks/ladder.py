"""What each layer of the stack costs, without I/O: runs in the environment of hybrid_infer.

A stub answers in place of the transport. The stack is timed from each layer down, all in turn, round by
round; what a layer costs is the difference to the stack below it. Each layer is given the call of a real run.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from copy import copy
from dataclasses import fields
from itertools import pairwise
from statistics import median
from typing import Any

from peers.base import KEY, MESSAGES, MODEL, OPTIONS
from server import chat_answer

from hybrid_infer import AsyncClient, Client
from hybrid_infer.calls.ask import chat_call
from hybrid_infer.calls.call import Call, Service, Tally
from hybrid_infer.calls.reply import RawResponse
from hybrid_infer.colours import Colour, blocking, tasks
from hybrid_infer.core import Core
from hybrid_infer.runtime.step import step
from hybrid_infer.settings import Settings

HEAD, BODY = chat_answer().split(b"\r\n\r\n", 1)
HEADERS = tuple(
    (name, value) for name, _, value in (line.partition(": ") for line in HEAD.decode().split("\r\n")[1:])
)
Hold = Callable[[], Awaitable[None]]


class Answer:
    """A response that is here already."""

    status = 200
    headers = HEADERS

    def __init__(self) -> None:
        self._body = BODY

    async def read(self, until: float) -> bytes:
        piece, self._body = self._body, b""
        return piece

    async def aclose(self) -> None: ...

    def abandon(self) -> None: ...


class Stub:
    """A transport without a network. What has ``held`` in its body waits for `hold` first."""

    name = "stub"

    def __init__(self, hold: Hold | None = None) -> None:
        self._hold = hold

    async def send(self, request: Any, *, until: float) -> Answer:
        if self._hold is not None and b"held" in request.body:
            await self._hold()
        return Answer()

    async def aclose(self) -> None: ...


def stubbed(**settings: Any) -> Client:
    """A client with its whole default stack, above a stub."""
    return _above(Client, blocking(), Stub(), settings)


def stubbed_async(hold: Hold, **settings: Any) -> AsyncClient:
    return _above(AsyncClient, tasks(), Stub(hold), settings)


def _above(kind: Any, colour: Colour, stub: Stub, settings: dict[str, Any]) -> Any:
    given = {"mode": "together-serverless", "api_key": KEY, "model": MODEL, "timeout": 3600, **settings}
    client = kind(**given)
    client._core = Core(
        Settings.load(given),
        Colour(runtime=colour.runtime, transport=lambda **_: stub, redis=colour.redis),
        None,
        None,
    )
    return client


class Rungs:
    """The services of one client's stack, innermost last, and the call that each of them gets."""

    def __init__(self, client: Client) -> None:
        assembly = client._core._current
        client.chat.completions.create(messages=MESSAGES, **OPTIONS)  # makes the target
        targets = assembly._targets
        target = next(iter(targets._targets.values()))
        self._seen: dict[str, Call] = {}
        self.services: list[tuple[str, Service]] = []
        inner = target.serve
        exchange = _innermost(inner)
        self.exchange = exchange
        service = self._watched("Exchange", exchange)
        for layer, _ in reversed(assembly._target_layers[target.name]):
            service = self._around(layer, service)
        target.serve = service
        service = self._watched("Route", assembly._route())
        for layer, _ in reversed(assembly._layers):
            service = self._around(layer, service)
        step(service(self.asked()))
        self.services.reverse()
        self._unwatched(assembly, target, exchange)

    def asked(self) -> Call:
        return chat_call({}, MESSAGES, None, False, OPTIONS)

    def calls(self, name: str, count: int) -> list[Call]:
        """Fresh calls, as the layer gets them."""
        call = self._seen[name]
        return [call.changed(tally=_tally(call.tally)) for _ in range(count)]

    def _watched(self, name: str, service: Service) -> Service:
        def watched(call: Call) -> Coroutine[Any, Any, Any]:
            self._seen.setdefault(name, call.changed(tally=_tally(call.tally)))
            return service(call)

        self.services.append((name, service))
        return watched

    def _around(self, layer: Any, inner: Service) -> Service:
        return self._watched(type(layer).__name__, lambda call: layer(call, inner))

    def _unwatched(self, assembly: Any, target: Any, exchange: Service) -> None:
        """The same services without those that looked on."""
        from hybrid_infer.layers.base import stack

        inside = [layer for layer, _ in assembly._target_layers[target.name]]
        outside = [layer for layer, _ in assembly._layers]
        route = assembly._route()
        target.serve = stack(inside, exchange)
        built = [stack(outside[place:], route) for place in range(len(outside))]
        built.append(route)
        built += [stack(inside[place:], exchange) for place in range(len(inside))]
        built.append(exchange)
        self.services = [(name, service) for (name, _), service in zip(self.services, built, strict=True)]


def _tally(tally: Tally) -> Tally:
    found = copy(tally)
    for field in fields(tally):
        value = getattr(tally, field.name)
        if isinstance(value, list):
            setattr(found, field.name, value.copy())
    return found


def _innermost(service: Any) -> Any:
    """The exchange at the end of a stack."""
    while getattr(service, "__closure__", None):
        held = dict(zip(service.__code__.co_freevars, service.__closure__, strict=True))
        service = held["inner"].cell_contents
    return service


def spent(function: Callable[[Any], object], given: Iterable[Any]) -> float:
    """Microseconds of this thread's CPU for each. Each is let go at once: to free it is part of its cost."""
    left = list(given)
    count = len(left)
    began = time.thread_time()
    while left:
        function(left.pop())
    return (time.thread_time() - began) / count * 1e6


def climb(rounds: int, count: int) -> dict[str, float]:
    """Microseconds of each layer, outermost first, and of all of them with the client's own method.

    Of layers it is the difference of the least of all rounds: what disturbs a measurement only adds to it. Of
    all together both are told, the least and the median; the goal is held against the median.
    """
    client = stubbed()
    rungs, core = Rungs(client), client._core
    backend, target = rungs.exchange._backend, rungs.calls("Exchange", 1)[0].candidates[0]
    raw = RawResponse(status=200, headers=HEADERS, body=BODY)
    found: dict[str, list[float]] = {}
    for turn in range(rounds + 1):
        times = {
            "all": spent(
                lambda _: client.chat.completions.create(messages=MESSAGES, **OPTIONS), range(count)
            ),
            "core": spent(lambda call: step(core.run(call)), [rungs.asked() for _ in range(count)]),
            "asked": spent(lambda _: rungs.asked(), range(count)),
        }
        for name, service in rungs.services:
            calls = rungs.calls(name, count)
            times[name] = spent(lambda call, service=service: step(service(call)), calls)
        calls = rungs.calls("Exchange", count)
        times["encode"] = spent(lambda call: backend.encode(call, target), calls)
        times["decode"] = spent(lambda call: backend.decode(call, raw), calls)
        if turn:  # the first is to warm up
            for name, cost in times.items():
                found.setdefault(name, []).append(cost)
    client.close()
    least = {name: min(costs) for name, costs in found.items()}
    layers = _differences(least, [name for name, _ in rungs.services])
    return {**layers, "all, least": least["all"], "all": median(found["all"])}


def _differences(times: dict[str, float], names: list[str]) -> dict[str, float]:
    costs = {
        "method": times["all"] - times["core"] - times["asked"],
        "arguments": times["asked"],
        "Core": times["core"] - times[names[0]],
    }
    for name, below in pairwise(names):
        costs[name] = times[name] - times[below]
    costs["Exchange"] = times["Exchange"] - times["encode"] - times["decode"]
    return {**costs, "encode": times["encode"], "decode": times["decode"]}
