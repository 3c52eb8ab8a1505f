"""Stream and AsyncStream: a live answer as users hold it."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from hybrid_infer.calls.call import Call
from hybrid_infer.calls.hybrid import Hybrid, Later
from hybrid_infer.calls.reply import Reply
from hybrid_infer.errors import StreamError
from hybrid_infer.runtime.step import step

Chunk = TypeVar("Chunk")
"""What it gives piece by piece, e.g. `ChatCompletionChunk`."""

Whole = TypeVar("Whole")
"""What the pieces add up to, e.g. `ChatCompletion`."""


class _Held(Generic[Whole]):
    """What both kinds of stream hold."""

    def __init__(self, call: Call, reply: Reply) -> None:
        self._call = call
        self._reply = reply

    @property
    def hybrid(self) -> Hybrid:
        """What is known of the call so far; complete once the stream has ended."""
        return Hybrid.of(self._call, self._reply.facts)

    def _assembled(self) -> Whole:
        whole: Any = self._reply.final()
        ending = self._reply.ending
        if whole is None or ending is None or ending.abandoned or ending.error is not None:
            raise StreamError(
                "the stream was closed or broke before its end, so there is no complete answer",
                partial=whole,
                hint="what had come is in error.partial",
            )
        return self._told(whole)

    def _told(self, whole: Any) -> Whole:
        """The whole answer, with what is known of the call."""
        whole.learn(Later(self._call, self._reply.facts))
        if self._call.shape is not None:
            whole.expect(self._call.shape)
        told: Whole = whole
        return told

    def __del__(self) -> None:
        self._reply.abandon()

    def __repr__(self) -> str:
        state = "open" if self._reply.ending is None else "ended"
        return f"<{type(self).__name__} {self._call.operation} {state}>"


class Stream(_Held[Whole], Generic[Chunk, Whole]):
    """Chunks of an answer as they arrive. Close it, use it in `with`, or just drop it: it stops at once.

    ```python
    with client.chat.completions.create(messages=messages, stream=True) as stream:
        for chunk in stream:
            print(chunk.choices[0].delta.content or "", end="")
    print(stream.hybrid.cost)
    ```
    """

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Chunk:
        """The next chunk.

        Raises:
            StreamError: the stream broke or was cut short; `partial` holds what had come.
            DeadlineExceededError: the call's time is over; `partial` as above.
        """
        chunk: Chunk | None = step(self._reply.next())
        if chunk is None:
            raise StopIteration
        return chunk

    def final(self) -> Whole:
        """Read to the end and return the whole answer.

        Raises:
            StreamError: it broke, was cut short or was closed before; `partial` holds what had come.
        """
        for _ in self:
            pass
        return self._assembled()

    def close(self) -> None:
        step(self._reply.aclose())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncStream(_Held[Whole], Generic[Chunk, Whole]):
    """As `Stream`, with `async for`, `async with` and `await stream.close()`."""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Chunk:
        """As `Stream.__next__`."""
        chunk: Chunk | None = await self._reply.next()
        if chunk is None:
            raise StopAsyncIteration
        return chunk

    async def final(self) -> Whole:
        """As `Stream.final`."""
        async for _ in self:
            pass
        return self._assembled()

    async def close(self) -> None:
        await self._reply.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
