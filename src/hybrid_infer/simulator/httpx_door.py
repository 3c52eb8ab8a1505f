"""The door for packages that speak through httpx: their own client, with a simulated world behind it."""

from __future__ import annotations

import math
from typing import Any

import httpx

from hybrid_infer.endpoints.together_calls import HOST, together_client
from hybrid_infer.runtime.base import Runtime
from hybrid_infer.runtime.step import step
from hybrid_infer.simulator.door import SimulatedTransport
from hybrid_infer.simulator.world import World
from hybrid_infer.transport.base import Origin, TransportError, TransportTimeout, WireRequest


class BlockingDoor(httpx.BaseTransport):
    """For `httpx.Client`: ``Together(http_client=httpx.Client(transport=BlockingDoor(world, runtime)))``."""

    def __init__(self, world: World, runtime: Runtime, *, speed: float = 1.0) -> None:
        self._runtime = runtime
        self._transport = SimulatedTransport(world, runtime=runtime, mode="together-dedicated", speed=speed)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return step(_carried(self._transport, self._runtime, request, request.read()))


class AsyncDoor(httpx.AsyncBaseTransport):
    """For `httpx.AsyncClient`."""

    def __init__(self, world: World, runtime: Runtime, *, speed: float = 1.0) -> None:
        self._runtime = runtime
        self._transport = SimulatedTransport(world, runtime=runtime, mode="together-dedicated", speed=speed)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await _carried(self._transport, self._runtime, request, await request.aread())


def together_package(world: World, *, runtime: Runtime, blocking: bool, speed: float = 1.0) -> Any:
    """A client of the `together` package, unchanged, whose requests end in a world.

    Args:
        speed: simulated seconds per second of the runtime; the same for all that share the world.

    Raises:
        ConfigurationError: the package is not installed.
    """
    line = (
        httpx.Client(transport=BlockingDoor(world, runtime, speed=speed))
        if blocking
        else httpx.AsyncClient(transport=AsyncDoor(world, runtime, speed=speed))
    )
    client = together_client(base_url=HOST, api_key="simulated", blocking=blocking, http_client=line)
    # The async client asks for this in a thread before its first request; virtual time waits for no thread.
    client._platform = "Unknown"
    return client


async def _carried(
    transport: SimulatedTransport, runtime: Runtime, request: httpx.Request, body: bytes
) -> httpx.Response:
    """The whole answer; in httpx's words where there is none."""
    seconds = request.extensions.get("timeout", {}).get("read")
    until = runtime.now() + (math.inf if seconds is None else seconds)
    wire = WireRequest(
        method=request.method,
        origin=_origin(request.url),
        path=request.url.raw_path.decode("ascii"),
        headers=[(name.lower(), value) for name, value in request.headers.items()],
        body=body,
    )
    try:
        response = await transport.send(wire, until=until)
        pieces: list[bytes] = []
        while piece := await response.read(until):
            pieces.append(piece)
        await response.aclose()
    except TransportTimeout as error:
        raise httpx.ReadTimeout(str(error), request=request) from None
    except TransportError as error:
        kind = httpx.ReadError if error.sent else httpx.ConnectError
        raise kind(str(error), request=request) from None
    return httpx.Response(
        response.status, headers=list(response.headers), content=b"".join(pieces), request=request
    )


def _origin(url: httpx.URL) -> Origin:
    return Origin(
        scheme=url.scheme, host=url.host, port=url.port or {"http": 80, "https": 443}.get(url.scheme, 0)
    )
