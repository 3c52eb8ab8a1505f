"""The door inside the process: a transport whose other end is a simulated world."""

from __future__ import annotations

from hybrid_infer.calls.call import Mode
from hybrid_infer.runtime.base import Guard, Runtime
from hybrid_infer.simulator.exchange import Exchange, Request, Step
from hybrid_infer.simulator.world import Provider, World
from hybrid_infer.transport.base import Headers, TransportError, TransportTimeout, WireRequest

_TICK = 1e-6
"""The least sleep, in seconds: rounding may leave a wake-up a hair before what it waits for."""


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
        except BaseException:
            self._open.discard(exchange)
            line.cancel(exchange)
            raise
        return SimulatedResponse(line, exchange, step, self._open)

    async def aclose(self) -> None:
        """Cancel what is underway."""
        while self._open:
            self._line.cancel(self._open.pop())


class SimulatedResponse:
    """What came back, and what is still to come."""

    def __init__(self, line: _Line, exchange: Exchange, step: Step, open_: set[Exchange]) -> None:
        self.status = step.status or 0
        self.headers: Headers = step.headers
        self._line = line
        self._exchange = exchange
        self._pieces = step.pieces
        self._done = step.done
        self._open = open_
        if step.done:
            open_.discard(exchange)

    async def read(self, until: float) -> bytes:
        while not self._pieces and not self._done:
            step = await self._line.wait(self._exchange, until)
            self._pieces, self._done = step.pieces, step.done
        if self._done:
            self._open.discard(self._exchange)
        pieces, self._pieces = self._pieces, ()
        return b"".join(pieces)

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
            if step.pieces or step.done or step.wake is None:
                return step
            now = self._runtime.now()
            seconds = max(_TICK, step.wake / self._speed - now)
            await self._runtime.sleep(min(seconds, until - now))
            if seconds >= until - now:
                raise TransportTimeout("the time for the answer passed", sent=True)

    def cancel(self, exchange: Exchange) -> None:
        with self._guard:
            exchange.cancel(self._now())

    def drop(self, exchange: Exchange) -> None:
        self._world.dropped.append(exchange)

    def _now(self) -> float:
        return self._runtime.now() * self._speed


def _plain(request: WireRequest) -> Request:
    """The request as a world takes it: what stands before ``/v1`` in the address is the user's own."""
    at = request.path.find("/v1/")
    return Request(
        method=request.method,
        path=request.path[max(at, 0) :],
        headers=dict(request.headers),
        body=request.body,
    )
