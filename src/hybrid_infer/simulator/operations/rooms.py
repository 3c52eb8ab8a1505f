"""Rooms: which operation is behind which path. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from hybrid_infer.calls.call import Mode
from hybrid_infer.simulator.exchange import Request
from hybrid_infer.simulator.operations.audio import transcriptions, translations
from hybrid_infer.simulator.operations.completions import completions
from hybrid_infer.simulator.operations.embeddings import embeddings
from hybrid_infer.simulator.operations.images import images
from hybrid_infer.simulator.operations.made import Made, Posted, Room
from hybrid_infer.simulator.operations.rerank import rerank
from hybrid_infer.simulator.operations.speech import speech
from hybrid_infer.simulator.together_wire import Stamp

ROOMS: Mapping[str, Room] = MappingProxyType(
    {
        "/v1/completions": completions,
        "/v1/embeddings": embeddings,
        "/v1/rerank": rerank,
        "/v1/images/generations": images,
        "/v1/audio/transcriptions": transcriptions,
        "/v1/audio/translations": translations,
        "/v1/audio/speech": speech,
    }
)
"""All of them are POSTs, work on a machine, and know nothing of other requests."""


def made_of(request: Request, *, mode: Mode, stamp: Stamp, model: str | None, seed: int) -> Made | None:
    """The answer to a request; None where no operation is behind its path.

    Args:
        mode: whose shape the answer has.
        model: what is served where the request names none.
        seed: of the world.

    Raises:
        NotAcceptedError: the request is wrong.
    """
    room = ROOMS.get(request.path.partition("?")[0]) if request.method == "POST" else None
    if room is None:
        return None
    return room(Posted(request, mode=mode, stamp=stamp, model=model, seed=seed))
