"""Images in the shape of the `openai` and `together` packages."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from hybrid_infer.calls.wire import Answer, Index, Wire


class Image(Wire):
    """One picture, under an address or as base64, whichever was asked for."""

    index: Index = 0
    url: str | None = None
    b64_json: str | None = None
    revised_prompt: str | None = None

    @property
    def content(self) -> bytes | None:
        """The picture itself, where it came as base64; None where there is only an address."""
        return None if self.b64_json is None else b64decode(self.b64_json)


class Images(Answer):
    """The pictures."""

    id: str | None = None
    created: int | None = None
    model: str | None = None
    data: list[Image]


class ImageOptions(TypedDict, total=False):
    """The options that Together (3.1.1) and OpenAI (3.54) know by name."""

    n: int | None
    steps: int | None
    width: int | None
    height: int | None
    size: str | None
    seed: int | None
    guidance_scale: float | None
    negative_prompt: str | None
    image_url: str | None
    reference_images: Sequence[str] | None
    image_loras: Sequence[Mapping[str, Any]] | None
    output_format: str | None
    response_format: str | None
    disable_safety_checker: bool | None
    quality: str | None
    style: str | None
    background: str | None
    user: str | None
