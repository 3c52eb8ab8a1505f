"""Streams only: some models answer streams only; for them, ask for the stream and hand over the whole."""

from __future__ import annotations

from dataclasses import replace

from hybrid_infer.calls.call import Call, Replying, Service
from hybrid_infer.calls.reply import Reply
from hybrid_infer.errors import StreamingRequiredError


class StreamsOnly:
    """Remembers that its target refuses complete answers, after the first refusal.

    Four of Together's serverless models answered so in 2026-10 (HTTP 400, code `streaming_required`). The
    refused request is an attempt of its own and is not billed.
    """

    def __init__(self) -> None:
        self._refused = False

    def __call__(self, call: Call, inner: Service) -> Replying:
        return inner(call) if call.stream else self._whole(call, inner)

    async def _whole(self, call: Call, inner: Service) -> Reply:
        if not self._refused:
            try:
                return await inner(call)
            except StreamingRequiredError:
                self._refused = True
        call.tally.why.append("the model answers streams only: the stream was put together")
        reply = await inner(replace(call, stream=True))
        try:
            while await reply.next() is not None:
                pass
        finally:
            await reply.aclose()
        # The caller asked for no stream, so it sees no time to the first token.
        return Reply(reply.final(), facts=replace(reply.facts, first_token=None))
