"""Knock: asks an address whether a model is served there, and nothing else."""

from __future__ import annotations

from hybrid_infer.backends.registry import Connection
from hybrid_infer.calls.call import Mode, Target
from hybrid_infer.calls.reply import RawResponse
from hybrid_infer.errors import APIConnectionError, APIError, APITimeoutError
from hybrid_infer.transport.base import Transport, TransportError, TransportTimeout

_LONGEST = 65_536


class Knock:
    """Sends the cheap request of the backend (``GET /v1/models``), with its credentials.

    Args:
        connection: where to, and in whose words.
        transport: what carries it, of the colour of whoever asks.

    Attributes:
        shared: what is there belongs to the provider, and is paid by the token.
    """

    def __init__(self, connection: Connection, transport: Transport, *, mode: Mode = "modal") -> None:
        self._backend = connection.backend
        self._transport = transport
        self._target = Target(
            name=f"{mode}/{connection.model or connection.origin.host}",
            mode=mode,
            provider=connection.provider,
            model=connection.model,
            host=connection.origin.host,
            port=connection.origin.port,
            basis=connection.basis,
        )
        self.shared = connection.basis == "tokens"

    async def __call__(self, until: float) -> APIError | None:
        """None where it answers as it should; the error that its answer is, or the lack of one.

        Args:
            until: `Runtime.now()` at which waiting is over.
        """
        request = self._backend.probe(self._target)
        if request is None:
            return None
        try:
            response = await self._transport.send(request, until=until)
            try:
                parts, length = list[bytes](), 0
                while length < _LONGEST and (data := await response.read(until)):
                    parts.append(data)
                    length += len(data)
            finally:
                await response.aclose()
        except TransportError as error:
            # Connecting that takes too long is no answer; an answer that does may be a machine that starts.
            late = isinstance(error, TransportTimeout) and not error.connecting
            kind = APITimeoutError if late else APIConnectionError
            return kind(str(error), where=self._target.name, hint=error.hint)
        if response.status < 300:
            return None
        raw = RawResponse(status=response.status, headers=tuple(response.headers), body=b"".join(parts))
        return self._backend.error(raw)
