"""``POST /v1/images/generations``: mosaics that the prompt chooses, always as PNG. Pure.

Where the answer is a URL, it leads to the simulator's own HTTP door, which makes the picture again from what
is in the path; without a host to name (inside the process) it is a ``data:`` URL.
"""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Any

from hybrid_infer.simulator.ask import NotAcceptedError, tokens_of
from hybrid_infer.simulator.exchange import Request, Response
from hybrid_infer.simulator.operations.made import Made, Posted
from hybrid_infer.simulator.operations.png import picture
from hybrid_infer.simulator.units import Units

PICTURES = "/v1/simulated/pictures/"
"""Where pictures are, for anybody who knows the name."""

_NAME = re.compile(r"([0-9a-f]{16})-(\d{1,4})x(\d{1,4})\.png")
_SIZE = re.compile(r"(\d{1,4})x(\d{1,4})")
_MOST_PIXELS = 2048
_MOST_PICTURES = 10
_STEPS = 4
_STEP_TOKENS = 8
"""The work of one step and megapixel: 50 ms on the small machine, 70 ms serverless (an assumption)."""


def images(posted: Posted) -> Made:
    """Make pictures. `steps` change how long it takes, and the price."""
    prompt = posted.needed("prompt")
    width, height = _size(posted)
    steps = posted.whole("steps", _STEPS, most=200)
    count = posted.whole("n", 1, most=_MOST_PICTURES)
    if posted.together:
        form = posted.choice("response_format", ("base64", "b64_json", "url"), "url")
        posted.choice("output_format", ("jpeg", "png"), "png")
    else:
        form = posted.choice("response_format", ("b64_json", "url"), "b64_json")
    seed = posted.whole("seed", 0, least=-(2**63), most=2**64)
    digests = [_digest(f"{posted.model} {prompt} {seed + index}") for index in range(count)]
    rows = [_row(posted, index, digest, width, height, form) for index, digest in enumerate(digests)]
    megapixels = count * width * height / 1e6
    body: dict[str, Any] = (
        {"id": posted.stamp.id, "model": posted.named, "object": "list", "data": rows}
        if posted.together
        else {
            "created": posted.stamp.created,
            "data": rows,
            "output_format": "png",
            "size": f"{width}x{height}",
        }
    )
    return posted.json(
        body,
        input_tokens=tokens_of(prompt),
        output_tokens=max(1, round(steps * _STEP_TOKENS * megapixels)),
        billed=Units(unit="megapixels", quantity=megapixels, steps=steps),
    )


def served(request: Request) -> Response | None:
    """A picture that a URL leads to; None for everything else."""
    path = request.path.partition("?")[0]
    name = _NAME.fullmatch(path.removeprefix(PICTURES)) if path.startswith(PICTURES) else None
    if name is None or request.method not in ("GET", "HEAD"):
        return None
    width, height = int(name[2]), int(name[3])
    if not (0 < width <= _MOST_PIXELS and 0 < height <= _MOST_PIXELS):
        return None
    data = picture(bytes.fromhex(name[1]), width, height)
    return Response(
        status=200,
        headers=(("content-type", "image/png"), ("x-simulated", "hybrid-infer")),
        pieces=((0, data),),
    )


def picture_url(request: Request, text: str, width: int, height: int) -> str:
    """Where the picture of a text is."""
    return _url(request, _digest(text), width, height)


def origin_of(request: Request) -> str | None:
    """The door that the request came through; None inside the process."""
    host = request.headers.get("host")
    return f"http://{host}" if host else None


def _row(posted: Posted, index: int, digest: bytes, width: int, height: int, form: str) -> dict[str, Any]:
    if form == "url":
        url = _url(posted.request, digest, width, height)
        return {"index": index, "type": "url", "url": url} if posted.together else {"url": url}
    data = base64.b64encode(picture(digest, width, height)).decode()
    if posted.together:
        return {"index": index, "type": "b64_json", "b64_json": data}
    return {"b64_json": data, "revised_prompt": None}


def _url(request: Request, digest: bytes, width: int, height: int) -> str:
    origin = origin_of(request)
    if origin is None:
        data = base64.b64encode(picture(digest, width, height)).decode()
        return f"data:image/png;base64,{data}"
    return f"{origin}{PICTURES}{digest.hex()}-{width}x{height}.png"


def _size(posted: Posted) -> tuple[int, int]:
    """Together's width and height, or the one word of OpenAI; engines take both."""
    size = None if posted.together else posted.text("size")
    if size not in (None, "auto"):
        found = _SIZE.fullmatch(size or "")
        if found is None or not all(0 < int(side) <= _MOST_PIXELS for side in found.groups()):
            raise NotAcceptedError(f'"size" must be like 1024x1024, at most {_MOST_PIXELS}.', param="size")
        return int(found[1]), int(found[2])
    return posted.whole("width", 1024, most=_MOST_PIXELS), posted.whole("height", 1024, most=_MOST_PIXELS)


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest()
