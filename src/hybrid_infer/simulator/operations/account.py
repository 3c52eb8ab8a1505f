"""Account: what outlives a request: files, batches, videos. It is on no machine and never cold. Pure."""

from __future__ import annotations

from typing import Any

from hybrid_infer.calls.call import Mode
from hybrid_infer.simulator.chance import Chance
from hybrid_infer.simulator.exchange import Request, Response
from hybrid_infer.simulator.operations.batches import Batches, Bill
from hybrid_infer.simulator.operations.files import FileStore, reply
from hybrid_infer.simulator.operations.made import Posted
from hybrid_infer.simulator.operations.videos import Videos
from hybrid_infer.simulator.together_wire import Stamp

VOICES = ("af_alloy", "af_bella", "am_adam")
"""Of hexgrad/Kokoro-82M; any name is taken."""


class Account:
    """One account, at Together or at an engine that keeps files.

    Args:
        model: what is served where a line of a batch names no model.
        bill: see `Batches` and `Videos`; None where nothing is billed, and there are no videos.
    """

    def __init__(self, chance: Chance, *, model: str | None, bill: Bill | None) -> None:
        self._together = bill is not None
        self._chance = chance
        self._files = FileStore(chance, together=self._together)
        self._batches = Batches(chance, self._files, together=self._together, model=model, bill=bill)
        self._videos = Videos(chance, bill) if bill is not None else None

    def receive(self, request: Request, *, mode: Mode, stamp: Stamp, now: float) -> Response | None:
        """Answer a request; None for paths that are not the account's.

        Raises:
            NotAcceptedError: the request is wrong, or what it names is not there.
        """
        self.settle(now)
        first, *rest = request.path.partition("?")[0].strip("/").split("/") if request.path else [""]
        root, parts = "/".join((first, *rest[:1])), tuple(rest[1:])
        posted = Posted(request, mode=mode, stamp=stamp, model=None, seed=self._chance.seed)
        if root == "v1/files":
            return self._files.receive(posted, parts)
        if root == "v1/batches":
            return self._batches.receive(posted, parts, now)
        if root == "v2/videos" and self._videos is not None and mode == "together-serverless":
            return self._videos.receive(posted, parts, now)
        if (request.method, root, parts) == ("GET", "v1/voices", ()) and self._together:
            return reply(posted, _voices())
        return None

    def put(self, request: Request) -> Response | None:
        """Take a file at the address that was given for it; None for all other requests."""
        return self._files.put(request)

    def settle(self, now: float) -> None:
        """Bring to their end what has come to it."""
        self._batches.settle(now)
        if self._videos is not None:
            self._videos.settle(now)


def _voices() -> dict[str, Any]:
    voices = [{"id": voice, "name": voice} for voice in VOICES]
    return {"data": [{"model": "hexgrad/Kokoro-82M", "voices": voices}]}
