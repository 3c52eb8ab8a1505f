"""``/v2/videos``: jobs that take a minute or two, at Together serverless alone. Pure.

There is no film: the address leads to one picture (a PNG) that the prompt chooses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hybrid_infer.simulator.ask import NotAcceptedError
from hybrid_infer.simulator.chance import Chance
from hybrid_infer.simulator.exchange import Response
from hybrid_infer.simulator.operations.batches import Bill
from hybrid_infer.simulator.operations.files import reply
from hybrid_infer.simulator.operations.images import picture_url
from hybrid_infer.simulator.operations.made import Posted, missing
from hybrid_infer.simulator.units import Units

COST = 1
"""What every video is said to cost: a whole number in the type of `together` 3.1.1, which names no unit."""

_BASE = 30.0
_EACH_SECOND = 10.0
"""Seconds that a job takes, and those it takes for each second of film; both are assumptions."""


@dataclass(slots=True, kw_only=True, eq=False)
class _Video:
    id: str
    model: str
    prompt: str
    seconds: int
    width: int
    height: int
    created: float
    ends: float
    billed: bool = False


class Videos:
    """The video jobs of one account. `bill` is told of each that is complete."""

    def __init__(self, chance: Chance, bill: Bill) -> None:
        self._chance = chance
        self._bill = bill
        self._videos: dict[str, _Video] = {}

    def receive(self, posted: Posted, parts: tuple[str, ...], now: float) -> Response | None:
        """Answer what is asked at the path below ``/v2/videos``; None for what is no such path."""
        method = posted.request.method
        if method == "POST" and not parts:
            return reply(posted, self._shown(self._create(posted, now), posted, now))
        if method == "GET" and len(parts) == 1:
            video = self._videos.get(parts[0])
            if video is None:
                raise NotAcceptedError(f"No such video: {parts[0]}", param="id", code="not_found", status=404)
            return reply(posted, self._shown(video, posted, now))
        return None

    def settle(self, now: float) -> None:
        """Bill what is complete."""
        for video in self._videos.values():
            if now >= video.ends and not video.billed:
                video.billed = True
                self._bill(video.model, Units(unit="videos", quantity=1))

    def _create(self, posted: Posted, now: float) -> _Video:
        model, prompt = posted.needed("model"), posted.text("prompt")
        if not prompt and posted.fields.get("media") is None:
            raise missing("prompt")
        length = posted.text("seconds") or "5"
        if not length.isdecimal() or not 1 <= int(length) <= 60:
            raise NotAcceptedError(
                '"seconds" must be a whole number from 1 to 60, as a string.', param="seconds"
            )
        chance = self._chance.of(f"video {len(self._videos) + 1}")
        video = _Video(
            id=f"video_{chance.getrandbits(96):024x}",
            model=model,
            prompt=prompt or "",
            seconds=int(length),
            width=posted.whole("width", 1280, most=2048),
            height=posted.whole("height", 720, most=2048),
            created=now,
            ends=now + (_BASE + _EACH_SECOND * int(length)) * chance.uniform(0.9, 1.1),
        )
        self._videos[video.id] = video
        return video

    def _shown(self, video: _Video, posted: Posted, now: float) -> dict[str, Any]:
        complete = now >= video.ends
        shown: dict[str, Any] = {
            "id": video.id,
            "object": "video",
            "model": video.model,
            "status": "completed" if complete else "in_progress",
            "created_at": self._chance.epoch + int(video.created),
            "seconds": str(video.seconds),
            "size": f"{video.width}x{video.height}",
        }
        if complete:
            url = picture_url(posted.request, f"{video.model} {video.prompt}", video.width, video.height)
            shown["completed_at"] = self._chance.epoch + int(video.ends)
            shown["outputs"] = {"cost": COST, "video_url": url}
        return shown
