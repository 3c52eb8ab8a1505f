"""The gRPC service that `modal` talks to, made of a table: the name of an RPC, and what answers it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, TypeAlias

from grpclib import GRPCError, Status
from grpclib.const import Cardinality, Handler
from grpclib.encoding.base import StatusDetailsCodecBase
from grpclib.server import Stream
from modal_proto import api_pb2

_message_class: Callable[[Any], Any] = import_module("google.protobuf.message_factory").GetMessageClass
"""By its name, since the package ships no types."""

_SERVICE = api_pb2.DESCRIPTOR.services_by_name["ModalClient"]

Send: TypeAlias = Callable[[Any], Awaitable[None]]

Answer: TypeAlias = Callable[[Any], Awaitable[Any]]
"""Takes the request, returns the reply."""

StreamAnswer: TypeAlias = Callable[[Any, Send], Awaitable[None]]
"""Takes the request, and what sends one message of the reply."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenRpc:
    """One RPC as it came. `attempt` is the number of times that the client's package tried it before."""

    name: str
    request: Any
    attempt: int


@dataclass(slots=True, kw_only=True)
class SeenRpcs:
    """All of them. `open` counts those being answered; `left` are those that the client walked away from."""

    rpcs: list[SeenRpc] = field(default_factory=list[SeenRpc])
    open: int = 0
    left: list[str] = field(default_factory=list[str])

    def names(self) -> list[str]:
        """In the order in which they came."""
        return [rpc.name for rpc in self.rpcs]

    def count(self, name: str) -> int:
        return self.names().count(name)


class ModalService:
    """Every RPC of Modal's client API; those without an answer are refused as unimplemented.

    Args:
        answers, streams: by name of the RPC; others may add to them before the door opens.
        token: the id and secret that callers must show; None lets everybody in.
    """

    def __init__(
        self,
        *,
        answers: Mapping[str, Answer],
        streams: Mapping[str, StreamAnswer],
        seen: SeenRpcs,
        token: tuple[str, str] | None = None,
    ) -> None:
        self._answers = answers
        self._streams = streams
        self._seen = seen
        self._token = token

    def __mapping__(self) -> dict[str, Handler]:
        """What grpclib asks for."""
        return {f"/{_SERVICE.full_name}/{one.name}": self._entry(one) for one in _SERVICE.methods}

    def _entry(self, method: Any) -> Handler:
        kinds = {
            (False, False): Cardinality.UNARY_UNARY,
            (False, True): Cardinality.UNARY_STREAM,
            (True, False): Cardinality.STREAM_UNARY,
            (True, True): Cardinality.STREAM_STREAM,
        }
        kind = kinds[method.client_streaming, method.server_streaming]

        async def serve(stream: Stream[Any, Any]) -> None:
            await self._serve(method.name, stream)

        return Handler(serve, kind, _message_class(method.input_type), _message_class(method.output_type))

    async def _serve(self, name: str, stream: Stream[Any, Any]) -> None:
        request = await stream.recv_message()
        shown: Any = stream.metadata or {}
        self._seen.rpcs.append(
            SeenRpc(name=name, request=request, attempt=int(shown.get("x-retry-attempt") or 0))
        )
        if self._token is not None and self._token != (
            shown.get("x-modal-token-id"),
            shown.get("x-modal-token-secret"),
        ):
            raise GRPCError(Status.UNAUTHENTICATED, "Token validation failed")
        self._seen.open += 1
        ended = False
        try:
            if name in self._streams:
                await self._streams[name](request, stream.send_message)
            elif name in self._answers:
                await stream.send_message(await self._answers[name](request))
            else:
                raise GRPCError(Status.UNIMPLEMENTED, f"the simulator has no {name}")
            ended = True
        except GRPCError:
            ended = True
            raise
        except Exception as error:
            ended = True
            raise GRPCError(Status.INTERNAL, f"the simulator failed: {error!r}") from error
        finally:
            self._seen.open -= 1
            if not ended:
                self._seen.left.append(name)


def empty_reply(name: str) -> Any:
    """The reply to an RPC with nothing in it."""
    return _message_class(_SERVICE.methods_by_name[name].output_type)()


class StatusDetails(StatusDetailsCodecBase):
    """How Modal puts details into an error, e.g. when to come back."""

    def encode(self, status: Status, message: str | None, details: Sequence[Any] | None) -> bytes:
        told = api_pb2.RPCStatus(code=status.value, message=message or "")
        for detail in details or ():
            told.details.add().Pack(detail, type_url_prefix="type.modal.com/")
        return bytes(told.SerializeToString())

    def decode(self, status: Status, message: str | None, data: bytes) -> Any:
        return None
