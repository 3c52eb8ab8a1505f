"""The door over HTTP: any client in any language can talk to a simulated world.

``/v1/…`` is Together, ``/modal/v1/…`` is a Modal server, ``/engine/v1/…`` is an engine of your own,
``/simulator/…`` shows and changes the world.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable

from hybrid_infer.errors import ConfigurationError
from hybrid_infer.simulator.connection import MODAL, Connection, Wire
from hybrid_infer.simulator.control import WorldControl
from hybrid_infer.simulator.defaults import DEFAULT_MODELS
from hybrid_infer.simulator.fault_rules import Faults
from hybrid_infer.simulator.world import World

_BACKLOG = 1024
_GRACE = 1.0
"""Seconds that answers underway may take to end, after the server was told to."""


def exports(port: int, host: str = "127.0.0.1") -> dict[str, str]:
    """The variables that lead clients to a simulator at this port: `openai`, `together` and this package."""
    address = f"http://{host}:{port}"
    variables = {
        "TOGETHER_BASE_URL": address,
        "TOGETHER_API_KEY": "simulated",
        "HYBRID_INFER_MODAL_URL": f"{address}{MODAL}",
        "HYBRID_INFER_MODAL_KEY": "wk-simulated",
        "HYBRID_INFER_MODAL_SECRET": "ws-simulated",
        "OPENAI_BASE_URL": f"{address}/v1",
        "OPENAI_API_KEY": "simulated",
    }
    for name, targets in DEFAULT_MODELS.items():
        variables["HYBRID_INFER_MODEL"] = name
        for mode, (model, gpu, gpus) in targets.items():
            prefix = f"HYBRID_INFER_MODELS__{name}__{mode}__".upper().replace("-", "_")
            variables[f"{prefix}MODEL"] = model
            if gpu is not None:
                variables |= {f"{prefix}GPU": gpu, f"{prefix}GPUS": str(gpus)}
    return variables


def serve(
    world: World,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    speed: float = 1.0,
    ready: Callable[[int], None] | None = None,
) -> None:
    """Serve a world until interrupted.

    Args:
        port: 0 picks a free one.
        speed: simulated seconds per second.
        ready: called with the port as soon as connections are taken.

    Raises:
        ConfigurationError: the address cannot be used.
    """
    SimulatorServer(world, host=host, port=port, speed=speed, ready=ready).run()


class SimulatorServer:
    """A server that is bound from the start: connections wait until `run`.

    Where faults refuse everybody for a time, nobody listens at the port for that time.

    Args:
        world, host, port, speed, ready: see `serve`.

    Raises:
        ConfigurationError: see `serve`.
    """

    def __init__(
        self,
        world: World,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        speed: float = 1.0,
        ready: Callable[[int], None] | None = None,
    ) -> None:
        self._world = world
        self._host = host
        self._speed = speed
        self._ready = ready
        try:
            self._socket = self._bound(port)
            self._socket.listen(_BACKLOG)
        except OSError as error:
            raise ConfigurationError(
                f"cannot listen at {host}:{port} ({error.strerror or error}): "
                "choose another --port, or 0 for a free one"
            ) from None
        self.port: int = self._socket.getsockname()[1]
        self._began = time.monotonic()
        self._connections: dict[asyncio.Task[None], Connection] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed = asyncio.Event()
        self._stopped = False
        self._closing = False

    def run(self) -> None:
        """Serve until `stop` or an interrupt."""
        try:
            asyncio.run(self._run())
        finally:
            self._socket.close()

    def stop(self) -> None:
        """End `run`, from any thread."""
        self._stopped = True
        self._wake()

    def use_faults(self, faults: Faults | None) -> None:
        """From now on these faults and no others; from any thread."""
        self._world.use_faults(faults)
        self._wake()

    def _wake(self) -> None:
        loop = self._loop
        if loop is not None:
            try:
                loop.call_soon_threadsafe(self._changed.set)
            except RuntimeError:
                pass  # it has ended already

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        wire = Wire(
            world=self._world,
            now=self._now,
            speed=self._speed,
            control=WorldControl(self._world, self._now, self._changed.set),
            closing=lambda: self._closing,
        )

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task, connection = asyncio.current_task(), Connection(wire, reader, writer)
            assert task is not None  # noqa: S101 - asyncio runs this in one
            self._connections[task] = connection
            try:
                await connection.serve()
            finally:
                del self._connections[task]

        listener: asyncio.Server | None = None
        ready = self._ready
        try:
            while not self._stopped:
                refusing, change = self._world.refusing(self._now())
                if refusing and not self._closing:
                    self._close(listener)
                    listener = None
                elif not refusing and listener is None:
                    self._closing = False
                    listener = await asyncio.start_server(connected, sock=self._socket, backlog=_BACKLOG)
                if ready is not None:
                    ready(self.port)
                    ready = None
                await self._until(change)
        finally:
            await self._leave(listener)

    async def _until(self, change: float | None) -> None:
        """Wait for a moment of the world, or for whoever changes something."""
        try:
            async with asyncio.timeout(
                None if change is None else max(0.001, (change - self._now()) / self._speed)
            ):
                await self._changed.wait()
        except TimeoutError:
            pass
        self._changed.clear()

    def _close(self, listener: asyncio.Server | None) -> None:
        """Let nobody in, and hold the port for later: a bound socket that does not listen refuses."""
        self._closing = True
        if listener is not None:
            listener.close()
        self._socket.close()
        self._socket = self._bound(self.port)
        for connection in self._connections.values():
            connection.close()

    async def _leave(self, listener: asyncio.Server | None) -> None:
        """Let answers underway come to their end, for a moment."""
        self._closing = True
        if listener is not None:
            listener.close()
        for connection in self._connections.values():
            connection.close()
        if self._connections:
            await asyncio.wait(tuple(self._connections), timeout=_GRACE)
        for connection in self._connections.values():
            connection.abort()
        if self._connections:
            await asyncio.wait(tuple(self._connections))

    def _bound(self, port: int) -> socket.socket:
        """A socket that has the address and does not listen yet."""
        # The protocol by its number: with 0 asyncio does not take it for TCP, and does not set TCP_NODELAY.
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            if os.name == "posix":  # elsewhere it lets two listen at one port
                made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind((self._host, port))
        except BaseException:
            made.close()
            raise
        made.setblocking(False)
        return made

    def _now(self) -> float:
        """Simulated seconds since the server was made."""
        return (time.monotonic() - self._began) * self._speed
