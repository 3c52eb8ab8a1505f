"""Simulation: simulated providers for one test, with faults, in virtual time, and what they saw."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from hybrid_infer.aclient import AsyncClient
from hybrid_infer.client import Client
from hybrid_infer.colours import Colour, blocking, tasks
from hybrid_infer.core import Core
from hybrid_infer.errors import UsageError
from hybrid_infer.runtime import virtual
from hybrid_infer.settings import Settings
from hybrid_infer.simulator.dedicated import Initial
from hybrid_infer.simulator.fault_rules import Faults, Fired
from hybrid_infer.simulator.seen import Seen
from hybrid_infer.simulator.world import Invoice, World

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

T = TypeVar("T")


class SimulatedClient(Client):
    """A `Client` of a simulation."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._defaults = {}


class SimulatedAsyncClient(AsyncClient):
    """An `AsyncClient` of a simulation."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._defaults = {}


class Simulation:
    """The simulated providers of one test, shared by all clients that it makes.

        simulation = Simulation(faults=Fault("status", status=503).when(on=1))
        with simulation.client(mode="modal") as client:
            ...
        assert simulation.seen().calls == 2

    In virtual time nobody waits: the clock moves when everybody would wait. Blocking clients bring it along;
    code with an `AsyncClient` runs in `run`.

    Args:
        faults: what goes wrong on purpose; a fault without a rule happens always.
        seed: of everything that is random in the providers. What a client draws (the waits between retries)
            comes from the module `random`.
        dedicated: how the dedicated endpoint is found.
        virtual_time: False lets real time pass.
    """

    def __init__(
        self,
        *,
        faults: Faults | None = None,
        seed: int = 0,
        dedicated: Initial = "ready",
        virtual_time: bool = True,
    ) -> None:
        self._world = World(seed=seed, dedicated=dedicated, faults=faults)
        self._threads = virtual.VirtualThreads() if virtual_time else None
        self._began = time.monotonic()
        self._ended: float | None = None

    def client(
        self,
        *,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        **settings: Any,
    ) -> Client:
        """A blocking client; `settings` as for `Client`.

        Raises:
            ConfigurationError: naming every setting that is wrong or misspelt.
        """
        return SimulatedClient(self._core(settings, blocking(self._threads), tracer_provider, meter_provider))

    def async_client(
        self,
        *,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        **settings: Any,
    ) -> AsyncClient:
        """An async client; `settings` as for `AsyncClient`.

        Raises:
            ConfigurationError: naming every setting that is wrong or misspelt.
        """
        return SimulatedAsyncClient(self._core(settings, tasks(), tracer_provider, meter_provider))

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """As `asyncio.run`, in the simulation's time; once, since its clock begins at 0.

        Raises:
            UsageError: it has been called before.
        """
        if self._ended is not None:
            main.close()
            raise UsageError("this simulation has run; make a new one, or put all of it into one coroutine")
        self._ended = 0.0
        return asyncio.run(main) if self._threads is None else virtual.run(self._timed(main))

    def run_threads(self, *functions: Callable[[], T]) -> list[T]:
        """Run each function in a thread of its own, in the simulation's time; their results in order."""
        if self._threads is not None:
            return self._threads.run(*functions)
        with ThreadPoolExecutor(max(1, len(functions))) as pool:
            return [future.result() for future in [pool.submit(function) for function in functions]]

    @property
    def now(self) -> float:
        """Seconds since the simulation began: virtual ones, or real ones."""
        if self._threads is None:
            return time.monotonic() - self._began
        try:
            return asyncio.get_running_loop().time()
        except RuntimeError:
            return max(self._threads.now(), self._ended or 0.0)

    def deploy(self, name: str, function: Callable[..., Any], **how: Any) -> None:
        """Deploy a function on the simulated Modal, in the place of one of that name.

        Args:
            name: ``"app/function"`` or ``"app/Class.method"``.
            function: what it does; a generator function is streamed.
            how: `seconds` that an input takes, its own `timeout`, and the other fields of
                `simulator.functions.Deployed`.
        """
        self._world.functions.deploy(name, function, **how)

    def use_faults(self, faults: Faults | None) -> None:
        """From now on these faults and no others."""
        self._world.use_faults(faults)

    def seen(self) -> Seen:
        """What reached the providers so far: requests by mode and model, and exchanges that are open."""
        with self._world.guarded_by(threading.Lock()):
            return self._world.seen()

    def fired(self) -> tuple[Fired, ...]:
        """What the faults have done so far, in the order of their rules."""
        return self._world.fired()

    def invoice(self) -> Invoice:
        """What the providers would bill so far, as tokens and seconds of machines."""
        with self._world.guarded_by(threading.Lock()):
            return self._world.invoice(self._world.latest)

    @contextmanager
    def serve(self, *, speed: float = 1.0) -> Generator[dict[str, str]]:
        """The same providers behind a real address on this machine, in real time, in a thread.

        For clients of any kind. Do not mix it with `client` and `async_client`, whose time is another.

        Args:
            speed: simulated seconds per second.

        Yields:
            The environment variables that lead clients there, such as ``OPENAI_BASE_URL``.
        """
        from hybrid_infer.simulator.server import SimulatorServer, exports

        server = SimulatorServer(self._world, speed=speed)
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            yield exports(server.port)
        finally:
            server.stop()
            thread.join()

    def _core(
        self,
        settings: dict[str, Any],
        colour: Colour,
        tracer_provider: TracerProvider | None,
        meter_provider: MeterProvider | None,
    ) -> Core:
        given = {name: value for name, value in settings.items() if value is not None}
        config = given.pop("config", None)
        if self._threads is not None:  # where time is virtual nobody has to hurry
            given.setdefault("simulate_speed", 1.0)
        loaded = Settings.load({**given, "simulate": True}, config=config)
        return Core(loaded, colour, None, tracer_provider, self._world, meter_provider=meter_provider)

    async def _timed(self, main: Coroutine[Any, Any, T]) -> T:
        try:
            return await main
        finally:
            self._ended = asyncio.get_running_loop().time()
