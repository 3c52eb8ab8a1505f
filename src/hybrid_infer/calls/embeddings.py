"""Embeddings in the shape of the `openai` and `together` packages."""

from __future__ import annotations

from array import array
from base64 import b64decode
from sys import byteorder
from typing import TYPE_CHECKING, Annotated, TypedDict

from pydantic import AfterValidator, Field

from hybrid_infer.calls.wire import Answer, CompletionUsage, Index, NullAs, Wire


def _unpacked(vector: list[float] | str) -> list[float]:
    """Base64 holds little-endian float32 (OpenAI, `encoding_format`)."""
    if not isinstance(vector, str):
        return vector
    numbers = array("f", b64decode(vector, validate=True))
    if byteorder == "big":
        numbers.byteswap()
    return numbers.tolist()


if TYPE_CHECKING:
    Vector = list[float]
else:
    # Numbers are read without Python; only what came as base64 passes through it.
    Vector = Annotated[list[float] | str, Field(union_mode="left_to_right"), AfterValidator(_unpacked)]


class Embedding(Wire):
    """The vector of one input, as numbers even where they travel as base64 (``encoding_format="base64"``)."""

    index: Index = 0
    embedding: Vector
    object: Annotated[str, NullAs(lambda: "embedding")] = "embedding"


class EmbeddingList(Answer):
    """One vector for each input, in their order. Together sends no usage (types and docs, 2026-10)."""

    data: list[Embedding]
    model: str | None = None
    object: Annotated[str, NullAs(lambda: "list")] = "list"
    usage: CompletionUsage | None = None


class EmbeddingOptions(TypedDict, total=False):
    """The options that OpenAI (3.54) knows by name; Together has none."""

    dimensions: int | None
    encoding_format: str | None
    user: str | None
