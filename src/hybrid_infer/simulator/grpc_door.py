"""The door to simulated Modal functions for the real `modal` package: a gRPC server on loopback."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from collections.abc import Callable
from types import TracebackType

from grpclib.protocol import H2Protocol
from grpclib.server import Server

from hybrid_infer.errors import ConfigurationError
from hybrid_infer.simulator.autoscaling import Autoscaling
from hybrid_infer.simulator.blobs import Blobs
from hybrid_infer.simulator.functions import FunctionRegistry
from hybrid_infer.simulator.grpc_autoscaler import AutoscalerAnswers
from hybrid_infer.simulator.grpc_functions import FunctionAnswers
from hybrid_infer.simulator.grpc_service import Answer, ModalService, SeenRpcs, StatusDetails, StreamAnswer

_LONGEST_START = 10.0


class _Server(Server):
    """grpclib's own leaves the connections of clients open that do not go by themselves."""

    def __init__(self, service: ModalService) -> None:
        super().__init__([service], status_details_codec=StatusDetails())
        self._made: list[H2Protocol] = []

    def _protocol_factory(self) -> H2Protocol:
        made = super()._protocol_factory()
        self._made.append(made)
        return made

    def close_connections(self) -> None:
        for protocol in self._made:
            connection = getattr(protocol, "connection", None)
            if connection is not None:
                connection.close()


class ModalDoor:
    """Serves a registry of functions to `modal`, unchanged: set ``MODAL_SERVER_URL`` to `url`.

    The server runs in a thread and an event loop of its own. What callers send is unpickled here, as on
    Modal, so it listens on loopback unless told otherwise.

    Args:
        registry: what is deployed; the default one where none is given.
        port: 0 takes a free one.
        speed: simulated seconds for a real one.
        token: the id and secret that callers must show; None lets everybody in.
        autoscaling: of the functions, and of a server if it has one; in the door's own time.

    Attributes:
        seen: the RPCs that came.
        answers, streams: by name of the RPC; add to them before `start`.

    Raises:
        ConfigurationError: the address cannot be listened at.
    """

    def __init__(
        self,
        registry: FunctionRegistry | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        speed: float = 1.0,
        token: tuple[str, str] | None = None,
        autoscaling: Autoscaling | None = None,
    ) -> None:
        self.registry = FunctionRegistry() if registry is None else registry
        self.seen = SeenRpcs()
        self.port = port
        self._host = host
        self._speed = speed
        self._began = time.monotonic()
        self._blobs = Blobs(host)
        self._functions = FunctionAnswers(self.registry, blobs=self._blobs, now=self.now, speed=speed)
        self.answers: dict[str, Answer] = self._functions.answers
        self.streams: dict[str, StreamAnswer] = self._functions.streams
        self.autoscaling = Autoscaling(functions=self.registry) if autoscaling is None else autoscaling
        self.answers |= AutoscalerAnswers(
            self.autoscaling, others=self.answers, function_id=self._functions.function_id, now=self.now
        ).answers
        self._service = ModalService(answers=self.answers, streams=self.streams, seen=self.seen, token=token)
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._started = threading.Event()
        self._failed: OSError | None = None

    @property
    def url(self) -> str:
        """For ``MODAL_SERVER_URL``."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self.port}"

    @property
    def function_id(self) -> Callable[[str], str]:
        """From ``app/tag`` to the provider's id, for RPCs that others add."""
        return self._functions.function_id

    def now(self) -> float:
        """Simulated seconds since the door was made."""
        return (time.monotonic() - self._began) * self._speed

    def start(self) -> ModalDoor:
        """Listen, and come back when it does."""
        self._thread = threading.Thread(target=self.run, name="hybrid_infer modal door", daemon=True)
        self._thread.start()
        self._started.wait(_LONGEST_START)
        if self._failed is not None:
            raise ConfigurationError(
                f"cannot listen at {self._host}:{self.port} ({self._failed.strerror or self._failed}): "
                "choose another port, or 0 for a free one"
            )
        return self

    def run(self) -> None:
        """Serve until `stop` or an interrupt, in this thread."""
        try:
            asyncio.run(self._run())
        except OSError as error:
            self._failed = error
        finally:
            self._started.set()

    def stop(self) -> None:
        """End it, from any thread."""
        loop, stopping = self._loop, self._stopping
        if loop is not None and stopping is not None:
            try:
                loop.call_soon_threadsafe(stopping.set)
            except RuntimeError:
                pass  # it has ended already
        if self._thread is not None:
            self._thread.join(_LONGEST_START)

    def __enter__(self) -> ModalDoor:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _listening(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        # The protocol is named so that asyncio takes it for TCP, and sends small packets at once: else each
        # answer would wait 40 ms for an acknowledgement.
        made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            if os.name == "posix":  # elsewhere it lets two listen at one port
                made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind((self._host, self.port))
        except BaseException:
            made.close()
            raise
        self.port = made.getsockname()[1]
        return made

    async def _run(self) -> None:
        listening = self._listening()
        server = _Server(self._service)
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        await self._blobs.start()
        try:
            await server.start(sock=listening)
            self._started.set()
            await self._stopping.wait()
        finally:
            await self._functions.stop()
            server.close()
            await self._blobs.stop()
            try:
                async with asyncio.timeout(1.0):
                    await server.wait_closed()
            except TimeoutError:
                pass
            server.close_connections()
            await asyncio.sleep(0)  # until they have
