"""`client.functions` of `AsyncClient`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any, Self

from hybrid_infer.calls.ask import merged
from hybrid_infer.calls.functions import FunctionReply
from hybrid_infer.calls.hybrid import Hybrid
from hybrid_infer.calls.requests import function_call, input_rows, spawned_call
from hybrid_infer.core import Core
from hybrid_infer.layers.exchange.functions_map import Mapped
from hybrid_infer.resources.base import AsyncResource
from hybrid_infer.resources.functions import CONCURRENCY
from hybrid_infer.streams import AsyncStream


class AsyncFunctions(AsyncResource):
    """`client.functions`

    A function is named ``"app/function"`` or ``"app/Class.method"``, or by a model of the configuration that
    is one. All arguments after the name are the function's own; how a call is made (`timeout`, `purpose`, …)
    is said by `client.with_options(timeout=60).functions`. A call is not repeated once it went out, unless
    ``idempotent=True`` says that it may be.
    """

    async def call(self, function: str, /, *args: Any, **kwargs: Any) -> FunctionReply[Any]:
        """Call a function and wait for what it returns: its `value`, beside `hybrid`.

        When the call's time is over, or it is cancelled, the input is cancelled at Modal.

        Raises:
            RemoteFunctionError: the function raised; the exception is its `remote`.
            InvalidCallError: the name is none, or the function is a generator.
            APIError: the call went out, or tried to, and did not end well.
        """
        reply: FunctionReply[Any] = await self._answer(function_call(self._defaults, function, args, kwargs))
        return reply

    async def stream(self, function: str, /, *args: Any, **kwargs: Any) -> AsyncFunctionStream:
        """What a generator function yields, one by one; raises as `call`.

        Modal has no way to cancel a generator: it goes on to its end, and is billed (see `hybrid.warnings`).
        """
        call = function_call(self._defaults, function, args, kwargs, stream=True)
        return AsyncFunctionStream(call, await self._core.run(call))

    def map(
        self,
        function: str,
        /,
        *inputs: Iterable[Any],
        kwargs: Mapping[str, Any] | None = None,
        concurrency: int = CONCURRENCY,
    ) -> AsyncFunctionMap:
        """A call for each input, several at a time; the replies come in the order of the inputs.

        Args:
            inputs: one iterable for each positional argument; the shortest ends it.
            kwargs: keyword arguments of every call.
            concurrency: calls at a time.
        """
        core, defaults = self._core, self._defaults

        async def one(args: tuple[Any, ...]) -> FunctionReply[Any]:
            reply: FunctionReply[Any] = (
                await core.run(function_call(defaults, function, args, kwargs or {}))
            ).value
            return reply

        rows = input_rows(inputs, concurrency)
        return AsyncFunctionMap(Mapped(core.runtime, rows, one, concurrency=concurrency))

    async def spawn(self, function: str, /, *args: Any, **kwargs: Any) -> AsyncSpawnedFunction:
        """Hand a call over to Modal and do not wait for it; raises as `call`.

        What it costs is known where it is waited for, as far as it is.
        """
        call = function_call(self._defaults, function, args, kwargs, operation="functions.spawn")
        reply: FunctionReply[str] = await self._answer(call)
        return AsyncSpawnedFunction(self._core, self._defaults, function, reply.value, reply.hybrid)

    def spawned(self, function: str, id: str) -> AsyncSpawnedFunction:
        """The handle of a call that was spawned earlier, maybe by another process."""
        return AsyncSpawnedFunction(self._core, self._defaults, function, id)


class AsyncSpawnedFunction(AsyncResource):
    """A call that runs by itself.

    Attributes:
        function: its name, as it was given.
        id: Modal's id of the call (``fc-…``).
        hybrid: of handing it over; None for a handle made from an id.
    """

    def __init__(
        self,
        core: Core,
        defaults: Mapping[str, Any],
        function: str,
        id: str,
        hybrid: Hybrid | None = None,
    ) -> None:
        super().__init__(core, defaults)
        self.function, self.id, self.hybrid = function, id, hybrid

    async def get(self, timeout: float | None = None) -> FunctionReply[Any]:
        """Wait for what it returns; may be asked again, as long as Modal keeps it.

        Args:
            timeout: seconds; None leaves it to the client.

        Raises:
            DeadlineExceededError: it is not ready. It goes on.
            RemoteFunctionError: the function raised.
        """
        reply: FunctionReply[Any] = await self._ask("functions.get", timeout)
        return reply

    async def cancel(self) -> None:
        """Stop it: what runs is interrupted, what waits never runs."""
        await self._ask("functions.cancel", None)

    async def _ask(self, operation: Any, timeout: float | None) -> Any:
        defaults = merged(self._defaults, {"timeout": timeout})
        return await self._answer(spawned_call(operation, defaults, self.function, self.id))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.function} {self.id}>"


class AsyncFunctionStream(AsyncStream[Any, FunctionReply[list[Any]]]):
    """What a generator function yields, one by one. See `AsyncStream`."""

    async def __anext__(self) -> Any:
        return (await super().__anext__()).value

    def _told(self, whole: Any) -> FunctionReply[list[Any]]:
        return FunctionReply(value=whole, hybrid=self.hybrid)


class AsyncFunctionMap:
    """The replies of a `map`, in the order of its inputs. One that failed raises in its turn."""

    def __init__(self, mapped: Mapped[tuple[Any, ...], FunctionReply[Any]]) -> None:
        self._mapped = mapped

    def __aiter__(self) -> AsyncIterator[FunctionReply[Any]]:
        return self

    async def __anext__(self) -> FunctionReply[Any]:
        found = await self._mapped.next()
        if found is None:
            raise StopAsyncIteration
        return found[0]

    async def close(self) -> None:
        await self._mapped.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __del__(self) -> None:
        self._mapped.abandon()
