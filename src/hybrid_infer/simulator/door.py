"""The door inside the process: a transport whose other end is a simulated world."""

from __future__ import annotations

import errno
import math

from hybrid_infer.calls.call import Mode
from hybrid_infer.runtime.base import Guard, Runtime
from hybrid_infer.simulator.exchange import Broken, Exchange, Request, Step
from hybrid_infer.simulator.world import Provider, World
from hybrid_infer.transport.base import Headers, Origin, TransportError, TransportTimeout, WireRequest

_TICK = 1e-6
"""The least sleep, in seconds: rounding may leave a wake-up a hair before what it waits for."""

_LONGEST = 86_400.0
"""The longest sleep: what waits without end sleeps again and again."""


class SimulatedTransport:
    """Carries requests to a world. Several transports, in several threads, may share one.

    Args:
        mode: as what the world answers, whatever the models are called and wherever requests are sent.
        speed: simulated seconds per second of the runtime; the same for all that share the world.
    """

    name = "simulator"

    def __init__(self, world: World, *, runtime: Runtime, mode: Mode, speed: float = 1.0) -> None:
        self._runtime = runtime
        self._mode: Mode = mode
        self._line = _Line(world, runtime, speed)
        self._open: set[Exchange] = set()

    async def send(self, request: WireRequest, *, until: float) -> SimulatedResponse:
        line = self._line
        if self._runtime.now() >= until:
            raise TransportTimeout("no time was left to send", sent=False)
        exchange = line.receive(_plain(request), self._mode)
        self._open.add(exchange)
        try:
            step = await line.wait(exchange, until)
            if step.broken is not None:
                raise _broken(step.broken, request.origin, answering=False)
        except BaseException:
            self._open.discard(exchange)
            line.cancel(exchange)
            raise
        return SimulatedResponse(line, exchange, step, self._open, request.origin)

    async def aclose(self) -> None:
        """Cancel what is underway."""
        while self._open:
            self._line.cancel(self._open.pop())


class SimulatedResponse:
    """What came back, and what is still to come."""

    def __init__(
        self, line: _Line, exchange: Exchange, step: Step, open_: set[Exchange], origin: Origin
    ) -> None:
        self.status = step.status or 0
        self.headers: Headers = step.headers
        self._line = line
        self._exchange = exchange
        self._data = b"".join(step.pieces)
        self._done = step.done
        self._open = open_
        self._origin = origin
        if step.done:
            open_.discard(exchange)

    async def read(self, until: float) -> bytes:
        while not self._data and not self._done:
            step = await self._line.wait(self._exchange, until)
            if step.broken is not None:
                self._open.discard(self._exchange)
                raise _broken(step.broken, self._origin, answering=True)
            self._data, self._done = b"".join(step.pieces), step.done
        if self._done:
            self._open.discard(self._exchange)
        data, self._data = self._data, b""
        return data

    async def aclose(self) -> None:
        if self._exchange in self._open:
            self._open.discard(self._exchange)
            self._line.cancel(self._exchange)

    def abandon(self) -> None:
        if self._exchange in self._open:
            self._open.discard(self._exchange)
            self._line.drop(self._exchange)


class _Line:
    """The world's time and the world's lock, for one transport."""

    def __init__(self, world: World, runtime: Runtime, speed: float) -> None:
        self._world = world
        self._runtime = runtime
        self._speed = speed
        self._guard: Guard = world.guarded_by(runtime.guard())

    def receive(self, request: Request, mode: Mode) -> Exchange:
        with self._guard:
            provider: Provider = "together" if mode.startswith("together") else "modal"
            return self._world.receive(provider, request, self._now(), mode=mode)

    async def wait(self, exchange: Exchange, until: float) -> Step:
        """Until there is something new.

        Raises:
            TransportTimeout: not before `until`.
            TransportError: the exchange was cancelled meanwhile.
        """
        while True:
            with self._guard:
                step = exchange.poll(self._now())
            if exchange.cancelled:
                raise TransportError("the connection to the simulator was closed", sent=True)
            if step.pieces or step.done:
                return step
            now = self._runtime.now()
            seconds = math.inf if step.wake is None else max(_TICK, step.wake / self._speed - now)
            await self._runtime.sleep(min(seconds, until - now, _LONGEST))
            if seconds >= until - now and until - now <= _LONGEST:
                raise _out_of_time()

    def cancel(self, exchange: Exchange) -> None:
        with self._guard:
            exchange.cancel(self._now())

    def drop(self, exchange: Exchange) -> None:
        self._world.dropped.append(exchange)

    def _now(self) -> float:
        return self._runtime.now() * self._speed


def _plain(request: WireRequest) -> Request:
    """The request as a world takes it: what stands before ``/v1`` in the address is the user's own."""
    at = max(request.path.find("/v1/"), request.path.find("/v2/"))
    return Request(
        method=request.method,
        path=request.path[max(at, 0) :],
        headers=dict(request.headers),
        body=request.content(),
    )


def _out_of_time() -> TransportTimeout:
    from hybrid_infer.transport import failures  # loads ssl

    return failures.out_of_time(sent=True)


def _broken(how: Broken, origin: Origin, *, answering: bool) -> TransportError:
    """What a real transport says where the connection ends like this."""
    from hybrid_infer.transport import failures  # loads ssl

    if how == "refused":
        cause = ConnectionRefusedError(errno.ECONNREFUSED, "")
        return failures.not_connected(cause, origin, None)
    reset = ConnectionResetError(errno.ECONNRESET, "") if how == "reset" else None
    return failures.lost(reset, answering=answering)
