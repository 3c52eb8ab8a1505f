"""The door over HTTP: any client in any language can talk to a simulated world.

``/v1/…`` is Together, ``/modal/v1/…`` is a Modal server, ``/simulator/…`` shows and changes the world. Needs
the extra ``simulator``.
"""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from hybrid_infer.errors import ConfigurationError
from hybrid_infer.simulator.defaults import DEFAULT_MODELS
from hybrid_infer.simulator.exchange import Exchange, Request, Step
from hybrid_infer.simulator.world import World

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request as HTTPRequest
    from starlette.types import Receive, Scope, Send

_MODAL = "/modal"
_BACKLOG = 1024


def exports(port: int, host: str = "127.0.0.1") -> dict[str, str]:
    """The variables that lead clients to a simulator at this port: `openai`, `together` and this package."""
    address = f"http://{host}:{port}"
    variables = {
        "TOGETHER_BASE_URL": address,
        "TOGETHER_API_KEY": "simulated",
        "HYBRID_INFER_MODAL_URL": f"{address}{_MODAL}",
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
        ConfigurationError: the address cannot be used, or the extra is missing.
    """
    SimulatorServer(world, host=host, port=port, speed=speed, ready=ready).run()


class SimulatorServer:
    """A server that is bound from the start: connections wait until `run`.

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
        try:
            import uvicorn

            app = application(world, speed=speed)
        except ModuleNotFoundError as error:
            raise ConfigurationError(
                f"the simulator's server needs {error.name}: pip install 'hybrid-infer[simulator]'"
            ) from None
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            self._socket = socket.create_server((host, port), family=family, backlog=_BACKLOG)
        except OSError as error:
            raise ConfigurationError(
                f"cannot listen at {host}:{port} ({error.strerror or error}): "
                "choose another --port, or 0 for a free one"
            ) from None
        self.port: int = self._socket.getsockname()[1]
        bound = self.port

        class Announced(uvicorn.Server):
            """Says that it is ready once an interrupt ends it properly, not before."""

            async def startup(self, sockets: list[socket.socket] | None = None) -> None:
                await super().startup(sockets=sockets)
                if ready is not None:
                    ready(bound)

        self._server = Announced(
            uvicorn.Config(
                app, log_level="warning", access_log=False, lifespan="off", timeout_graceful_shutdown=1
            )
        )

    def run(self) -> None:
        """Serve until `stop` or an interrupt."""
        with self._socket:
            self._server.run(sockets=[self._socket])

    def stop(self) -> None:
        """End `run`, from any thread."""
        self._server.should_exit = True


def application(world: World, *, speed: float = 1.0) -> Starlette:
    """The ASGI application. It runs in one event loop, which is why the world needs no lock here."""
    from starlette.applications import Starlette
    from starlette.responses import JSONResponse
    from starlette.routing import Mount, Route

    began = time.monotonic()

    def now() -> float:
        return (time.monotonic() - began) * speed

    async def state(_: HTTPRequest) -> JSONResponse:
        return JSONResponse(_state(world, now()))

    async def dedicated(request: HTTPRequest) -> JSONResponse:
        change = {
            "ready": world.ready_dedicated,
            "stopped": world.stop_dedicated,
            "starting": world.start_dedicated,
        }.get(_wanted(await request.body()))
        if change is None:
            message = 'send {"state": "ready"}, "stopped" or "starting"'
            return JSONResponse({"error": {"message": message}}, status_code=400)
        change(now())
        return JSONResponse(_state(world, now()))

    return Starlette(
        routes=[
            Route("/simulator/state", state),
            Route("/simulator/dedicated", dedicated, methods=["POST"]),
            Mount("/", app=_Providers(world, now, speed)),
        ]
    )


def _state(world: World, now: float) -> dict[str, Any]:
    return {"machines": asdict(world.machines(now)), "invoice": asdict(world.invoice(now))}


def _wanted(body: bytes) -> str:
    try:
        wanted: Any = json.loads(body)["state"]
    except (ValueError, KeyError, TypeError):
        return ""
    return wanted if isinstance(wanted, str) else ""


class _Providers:
    """The providers' own paths, in bare ASGI: it sees the client go away, and sends piece by piece."""

    def __init__(self, world: World, now: Callable[[], float], speed: float) -> None:
        self._world = world
        self._now = now
        self._speed = speed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        from starlette.requests import ClientDisconnect
        from starlette.requests import Request as HTTPRequest

        if scope["type"] != "http":
            return
        request = HTTPRequest(scope, receive)
        try:
            body = await request.body()
        except ClientDisconnect:
            return
        path = request.url.path
        modal = path.startswith(f"{_MODAL}/")
        exchange = self._world.receive(
            "modal" if modal else "together",
            Request(
                method=request.method,
                path=path.removeprefix(_MODAL) if modal else path,
                headers=dict(request.headers),
                body=body,
            ),
            self._now(),
        )
        gone = asyncio.create_task(_gone(receive))
        try:
            await self._answer(exchange, gone, send)
        finally:
            gone.cancel()
            exchange.cancel(self._now())

    async def _answer(self, exchange: Exchange, gone: asyncio.Task[None], send: Send) -> None:
        head_sent = False
        while not gone.done():
            step = exchange.poll(self._now())
            if step.status is not None and not head_sent:
                head_sent = True
                await send({"type": "http.response.start", "status": step.status, "headers": _head(step)})
            if head_sent and (step.pieces or step.done):
                body = b"".join(step.pieces)
                await send({"type": "http.response.body", "body": body, "more_body": not step.done})
            if step.done or step.wake is None:
                return
            await asyncio.wait((gone,), timeout=max(0.0, step.wake - self._now()) / self._speed)


async def _gone(receive: Receive) -> None:
    """Returns when the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _head(step: Step) -> list[tuple[bytes, bytes]]:
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in step.headers]
    if step.done:
        headers.append((b"content-length", str(sum(map(len, step.pieces))).encode()))
    return headers
