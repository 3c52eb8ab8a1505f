"""Modal's autoscaler through the `modal` package (1.6.4), without the paths that it has deprecated.

``Function.update_autoscaler`` and the like are deprecated since 2026-10-16, and an instance of a `Cls` has no
``.autoscaler``: what scales a class is the function behind all its methods, and ``Function.from_id`` gives it
one. The package is called in an event loop of its own, so that deadlines hold in both colours.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from importlib import import_module
from typing import Any, TypeVar

from hybrid_infer.endpoints.modal_autoscaler import Bounds, Container, Runners, ScaledName
from hybrid_infer.runtime.base import Runtime
from hybrid_infer.transport.functions import FunctionFailure
from hybrid_infer.transport.modal_client import Connection
from hybrid_infer.transport.modal_functions import Course, ModalFunctions

T = TypeVar("T")

_MIB = 1024


class PackageAutoscaler:
    """The autoscaler of one deployed object. Fits `Autoscaler`.

    The first operation connects and looks the object up: one RPC for a function or server; three for a class,
    whose id is in its app's list, or two where a method is named.

    Args:
        token: gives the id and secret of an account token; None leaves it to Modal's own configuration.
        connect_timeout: seconds to open the connection.
    """

    def __init__(
        self,
        name: ScaledName,
        *,
        runtime: Runtime,
        token: Callable[[], tuple[str, str]] | None = None,
        connect_timeout: float = 5.0,
    ) -> None:
        self._name = name
        self._functions = ModalFunctions(runtime=runtime, token=token)
        self._connect_timeout = connect_timeout
        self._handle: Any = None

    async def bounds(self, until: float) -> Bounds:
        async def ask(handle: Any) -> Bounds:
            return _bounds(await handle.autoscaler.settings.aio())

        return await self._ask(ask, until)

    async def scale(self, until: float, *, minimum: int, maximum: int | None = None) -> Bounds:
        async def ask(handle: Any) -> Bounds:
            # What is not given stays as it is; None would remove the bound.
            more = {} if maximum is None else {"max_containers": maximum}
            return _bounds(await handle.autoscaler.update.aio(min_containers=minimum, **more))

        return await self._ask(ask, until)

    async def runners(self, until: float) -> Runners:
        async def ask(handle: Any) -> Runners:
            if self._name.server:
                raise FunctionFailure(
                    f"{self._name} is a modal.Server, which is reached by its address: set url and server in "
                    "place of function",
                    cause="invalid",
                    stage="look-up",
                )
            stats = await handle.get_current_stats.aio()
            return Runners(
                backlog=stats.backlog, runners=stats.num_total_runners, inputs=stats.num_running_inputs
            )

        return await self._ask(ask, until)

    async def container(self, until: float) -> Container:
        async def ask(handle: Any) -> Container:
            try:
                return _container(await handle.info.aio())
            except AssertionError:  # what was named as a server is a web function
                return Container(gpu=None, gpus=1, cpu=None, memory=None)

        return await self._ask(ask, until)

    async def aclose(self) -> None:
        await self._functions.aclose()

    async def _ask(self, ask: Callable[[Any], Coroutine[Any, Any, T]], until: float) -> T:
        course = Course("connect")
        work = partial(self._asked, ask, course)
        return await self._functions.waited(work, course, until, self._connect_timeout)

    async def _asked(
        self, ask: Callable[[Any], Coroutine[Any, Any, T]], course: Course, connection: Connection
    ) -> T:
        """In the loop."""
        client = await connection.client()
        course.stage = "look-up"
        if self._handle is None:
            self._handle = await self._found(client)
        return await ask(self._handle)

    async def _found(self, client: Any) -> Any:
        """In the loop: the handle of the object, known to be there."""
        modal: Any = import_module("modal")
        name = self._name
        if name.method is not None:
            cls = modal.Cls.from_name(name.app, name.tag, client=client)
            method = getattr(cls(), name.method)
            await method.hydrate.aio()
            return await _by_id(modal.Function, method.object_id, client)
        kind = modal.Server if name.server else modal.Function
        handle = kind.from_name(name.app, name.tag, client=client)
        try:
            await handle.hydrate.aio()
        except modal.exception.NotFoundError:
            if name.server:
                raise
            found = await self._listed(modal, client)
            if found is None:
                raise
            return found
        return handle

    async def _listed(self, modal: Any, client: Any) -> Any | None:
        """In the loop: the class of this name, by the app's own list, whose keys are not documented."""
        app = await modal.App.lookup.aio(self._name.app, client=client)
        info = await app.info.aio()
        tag = self._name.tag
        for key in (f"{tag}.*", tag):
            if key in info.functions:
                return await _by_id(modal.Function, info.functions[key], client)
        return None


async def _by_id(kind: Any, id: str, client: Any) -> Any:
    handle = kind.from_id(id, client=client)
    await handle.hydrate.aio()
    return handle


def _bounds(settings: Any) -> Bounds:
    window = settings.scaledown_window
    return Bounds(
        minimum=settings.min_containers or 0,
        maximum=settings.max_containers,
        window=None if window is None else float(window),
    )


def _container(info: Any) -> Container:
    """Several kinds of GPU are those it may run on, the first wish first. Ranges count by their request."""
    gpu, gpus = info.gpus[0] if info.gpus else (None, 1)
    cpu, memory = _least(info.cpu), _least(info.memory_mib)
    regions = getattr(info, "regions", None) or getattr(info, "compute_regions", None) or ()
    return Container(
        gpu=gpu or None,
        gpus=gpus,
        cpu=cpu,
        memory=None if memory is None else memory / _MIB,
        nonpreemptible=bool(info.nonpreemptible),
        regions=tuple(regions),
    )


def _least(amount: Any) -> float | None:
    """A number, or the first of a request and a limit."""
    wanted: Any = amount if amount is None or isinstance(amount, int | float) else amount[0]
    return None if wanted is None else float(wanted)
