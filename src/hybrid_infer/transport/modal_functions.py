"""Deployed Modal functions over gRPC, by Modal's own package.

The package can be cancelled only from an event loop, and a blocking call into it knows no deadline: to find
that a port is closed takes it 56 s, and a server that takes a request and says nothing holds it without end.
So every call is a task in one event loop of this process (`functions_loop`), and the caller, blocking or
async, waits for it no longer than it wants. What it walks away from is stopped there: the input is cancelled
at Modal, even if its id comes only then, and even if the caller's own event loop has ended.

A call is `spawn`, `get`, `cancel` rather than `remote`, whose cancellation never reaches Modal: the input
would go on, and be billed. The price: arguments above 8 KiB go through Modal's blob store, two round trips.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from hybrid_infer.calls.functions import FunctionName
from hybrid_infer.runtime.base import Promise, Runtime
from hybrid_infer.runtime.fork import mend_after_fork
from hybrid_infer.transport.functions import FunctionFailure, FunctionTimeout, Notice, Returned, Stage
from hybrid_infer.transport.functions_loop import THREAD, Errand
from hybrid_infer.transport.modal_client import Connection, modal_package, place
from hybrid_infer.transport.modal_failures import failure_of
from hybrid_infer.transport.modal_notices import HEARD

T = TypeVar("T")

_CONNECT = 5.0
_LAST_WISH = 10.0
"""Seconds after which an input that nobody wants any more is not waited for, to be cancelled."""


class Course:
    """How far one call has come. Written in the loop, read by whoever waits for it."""

    __slots__ = ("call_id", "notice", "stage")

    def __init__(self, stage: Stage = "connect", notice: Notice | None = None) -> None:
        self.stage: Stage = stage
        self.notice = notice
        self.call_id: str | None = None


class ModalFunctions:
    """Carries calls to Modal, in the colour of its runtime.

    Modal's package unpickles what a function returns or raises, so a function can run code in this process.

    Args:
        runtime: how waiting is done, and whose clock `until` is told on.
        token: gives the id and secret of an account token (``ak-…``, ``as-…``), asked when connecting. None
            leaves it to Modal's own configuration.
        max_throttle_wait: see `modal_client.modal_package`.
    """

    name = "modal"

    def __init__(
        self,
        *,
        runtime: Runtime,
        token: Callable[[], tuple[str, str]] | None = None,
        max_throttle_wait: int | None = 10,
    ) -> None:
        self._runtime = runtime
        self._token = token
        self._throttle = max_throttle_wait
        self._modal: Any = None
        self._connection: Connection | None = None
        self._closed = False
        self._guard = runtime.guard()
        # A connection is its process's own; Modal's package advises a fresh client, too.
        mend_after_fork(self, ModalFunctions._forget)

    async def call(
        self,
        name: FunctionName,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        *,
        until: float,
        connect: float | None = None,
        notice: Notice | None = None,
    ) -> Returned:
        """What the function returns.

        Raises:
            ConfigurationError: Modal's package is missing.
            FunctionTimeout, FunctionFailure: see `FunctionTransport`.
        """
        course = Course(notice=notice)
        return await self.waited(partial(self._called, name, args, kwargs, course), course, until, connect)

    async def spawn(
        self,
        name: FunctionName,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        *,
        until: float,
        connect: float | None = None,
        notice: Notice | None = None,
    ) -> ModalSpawned:
        """As `call`, without waiting for the result."""
        course = Course(notice=notice)
        work = partial(self._sent, name, args, kwargs, course)
        handle = await self.waited(work, course, until, connect, drop=_drop)
        return ModalSpawned(self, handle.object_id, handle)

    async def stream(
        self,
        name: FunctionName,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        *,
        until: float,
        connect: float | None = None,
        notice: Notice | None = None,
    ) -> ModalItems:
        """What a generator function yields."""
        course = Course(notice=notice)
        function = await self.waited(partial(self.function, name, course), course, until, connect)
        return ModalItems(self, function.remote_gen.aio(*args, **kwargs), notice)

    def spawned(self, id: str) -> ModalSpawned:
        """The handle of a call made earlier (``fc-…``)."""
        return ModalSpawned(self, id)

    async def aclose(self) -> None:
        """Close the connection. What was cancelled before has been said by then, if it can be in a moment."""
        self._closed = True
        connection, self._connection = self._connection, None
        if connection is not None:
            promise = self._runtime.promise()
            THREAD.errand(partial(_closed, connection), promise)
            await promise.wait(2.0)

    async def waited(
        self,
        work: Callable[[Connection], Coroutine[Any, Any, T]],
        course: Course,
        until: float,
        connect: float | None = None,
        *,
        drop: Callable[[T], None] | None = None,
    ) -> T:
        """The outcome of `work` in the loop, waited for until then; what nobody waits for is stopped."""
        connection = self._connected()
        promise = self._runtime.promise()
        before = HEARD.set(course.notice)  # for the errand, which takes a copy of this context
        try:
            errand: Errand[T] = THREAD.errand(partial(work, connection), promise, drop)
        finally:
            HEARD.reset(before)
        try:
            kept = False
            if course.stage == "connect":
                patience = self._runtime.now() + (_CONNECT if connect is None else connect)
                kept = await self._kept(promise, min(until, patience))
                if not kept and course.stage == "connect":
                    raise FunctionTimeout(stage="connect", place=place(self._modal))
            if not kept and not await self._kept(promise, until):
                raise FunctionTimeout(stage=course.stage, place=place(self._modal), call_id=course.call_id)
        except BaseException:
            errand.stop()
            raise
        try:
            return errand.result()
        except FunctionFailure as error:
            failure = error
        except (Exception, asyncio.CancelledError) as error:
            # `modal` raises what a function raised as it is; a cancellation nobody asked for is one of those.
            failure = failure_of(
                error,
                modal=self._modal,
                stage=course.stage,
                redact=connection.redact,
                call_id=course.call_id,
            )
        raise failure

    async def _kept(self, promise: Promise, until: float) -> bool:
        """Whether it is kept by then. Clocks of waiting may be a hair early, and then it is not yet then."""
        while not await promise.wait(until - self._runtime.now()):
            if self._runtime.now() >= until:
                return False
        return True

    async def function(self, name: FunctionName, course: Course, connection: Connection) -> Any:
        """In the loop: the handle of a function."""
        known = connection.known(name)
        if known is not None:
            course.stage = "send"
            return known
        client = await connection.client()
        course.stage = "look-up"
        handle = await connection.look_up(name, client)
        course.stage = "send"
        return handle

    async def _sent(
        self,
        name: FunctionName,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        course: Course,
        connection: Connection,
    ) -> Any:
        """In the loop: the handle of a new call."""
        known = connection.known(name) is not None
        function = await self.function(name, course, connection)
        try:
            return await _spawned(function, args, kwargs)
        except self._modal.exception.NotFoundError:
            connection.forget(name)
            if not known:
                raise
        function = await self.function(name, course, connection)  # it was deployed anew
        return await _spawned(function, args, kwargs)

    async def _called(
        self,
        name: FunctionName,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        course: Course,
        connection: Connection,
    ) -> Returned:
        """In the loop: the result of a new call, which is cancelled at Modal if this task is."""
        handle = await self._sent(name, args, kwargs, course, connection)
        course.stage, course.call_id = "wait", handle.object_id
        try:
            return Returned(await handle.get.aio(), handle.object_id)
        except asyncio.CancelledError:
            if _asked_to_stop():
                THREAD.leave(_cancelled(handle))
            raise

    def _connected(self) -> Connection:
        if self._closed:
            raise FunctionFailure("the client is closed", cause="closed", stage="connect")
        return self._connection or self._connect()

    def _connect(self) -> Connection:
        with self._guard:
            if self._connection is None:
                self._modal = self._modal or modal_package(self._throttle)
                self._connection = Connection(self._modal, self._token)
            return self._connection

    def _forget(self) -> None:
        self._connection = None


class ModalSpawned:
    """A call that runs by itself (``fc-…``)."""

    def __init__(self, functions: ModalFunctions, id: str, handle: Any = None) -> None:
        self.id = id
        self._functions = functions
        self._handle = handle

    async def get(self, until: float) -> Any:
        course = self._course()
        return await self._functions.waited(self._get(course), course, until)

    async def cancel(self, until: float) -> None:
        course = self._course()
        await self._functions.waited(self._cancel(course), course, until)

    def _course(self) -> Course:
        course = Course("connect" if self._handle is None else "wait")  # a known one is asked at once
        course.call_id = self.id
        return course

    def _get(self, course: Course) -> Callable[[Connection], Coroutine[Any, Any, Any]]:
        async def get(connection: Connection) -> Any:
            handle = await self._found(connection)
            course.stage = "wait"
            return await handle.get.aio()

        return get

    def _cancel(self, course: Course) -> Callable[[Connection], Coroutine[Any, Any, None]]:
        async def cancel(connection: Connection) -> None:
            handle = await self._found(connection)
            course.stage = "cancel"
            await handle.cancel.aio()

        return cancel

    async def _found(self, connection: Connection) -> Any:
        if self._handle is None:
            import modal

            self._handle = modal.FunctionCall.from_id(self.id, client=await connection.client())
        return self._handle


class ModalItems:
    """What a generator yields. Modal has no way to stop one from outside: closing only stops the reading."""

    stoppable = False

    def __init__(self, functions: ModalFunctions, items: Any, notice: Notice | None) -> None:
        self._functions = functions
        self._items = items
        self._notice = notice
        self._over = False

    async def next(self, until: float) -> tuple[Any] | None:
        if self._over:
            return None
        item = None
        try:
            item = await self._functions.waited(self._next, Course("wait", self._notice), until)
        finally:
            self._over = item is None
        return item

    async def _next(self, _: Connection) -> tuple[Any] | None:
        try:
            return (await self._items.__anext__(),)
        except StopAsyncIteration:
            return None

    async def aclose(self) -> None:
        self.abandon()

    def abandon(self) -> None:
        if not self._over:
            self._over = True
            THREAD.say(partial(_left, self._items))


def _drop(handle: Any) -> None:
    """In the loop: nobody took the handle of a new call."""
    THREAD.leave(_cancelled(handle))


def _asked_to_stop() -> bool:
    """Whether this task is cancelled; else the cancellation is what a function raised."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _spawned(function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """A new call. If this task is cancelled meanwhile, the call is too, as soon as its id is known."""
    sending = asyncio.get_running_loop().create_task(function.spawn.aio(*args, **kwargs))
    try:
        return await asyncio.shield(sending)
    except asyncio.CancelledError:
        if _asked_to_stop():
            THREAD.leave(_cancelled_when_sent(sending))
        raise


async def _cancelled_when_sent(sending: asyncio.Task[Any]) -> None:
    try:
        async with asyncio.timeout(_LAST_WISH):
            handle = await sending
    except Exception:
        return  # there is none
    await _cancelled(handle)


async def _cancelled(handle: Any) -> None:
    try:
        async with asyncio.timeout(_LAST_WISH):
            await handle.cancel.aio()
    except Exception:
        return  # it has ended, or Modal cannot be reached: nobody waits to be told


async def _left(items: Any) -> None:
    try:
        await items.aclose()
    except Exception:
        return


async def _closed(connection: Connection) -> None:
    try:
        async with asyncio.timeout(1.0):
            await THREAD.settled()
    except TimeoutError:
        pass
    await connection.aclose()
