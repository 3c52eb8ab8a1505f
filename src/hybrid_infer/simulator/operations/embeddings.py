"""``POST /v1/embeddings``: hashed bags of words, so that texts with words in common are close. Pure."""

from __future__ import annotations

import base64
import hashlib
import math
import re
import struct
from collections.abc import Sequence
from typing import Any

from hybrid_infer.simulator.ask import CONTEXT, NotAcceptedError, tokens_of
from hybrid_infer.simulator.operations.made import Made, Posted, missing
from hybrid_infer.simulator.shapes import is_list

DIMENSIONS = 1024
"""As Together's one serverless model has them, multilingual-e5-large-instruct (docs, 2026-10)."""

SERVERLESS_TOKENS = 514
"""The longest text of that model."""

_WORD = re.compile(r"\w+")
_PLACES = 8
"""Places of the vector that one word changes."""


def embeddings(posted: Posted) -> Made:
    """A unit vector for each text; Together tells no usage, as its docs and its package's type have none."""
    texts, counts = _texts(posted)
    limit = SERVERLESS_TOKENS if posted.mode == "together-serverless" else CONTEXT
    if max(counts) > limit:
        raise NotAcceptedError(
            f"The input has {max(counts)} tokens; the model takes {limit}.",
            param="input",
            code="context_length_exceeded",
        )
    dimensions, kind = DIMENSIONS, "float"
    if not posted.together:
        dimensions = posted.whole("dimensions", DIMENSIONS, most=DIMENSIONS)
        kind = posted.choice("encoding_format", ("float", "base64"), "float")
    vectors = [vector(text, dimensions) for text in texts]
    rows: list[dict[str, Any]] = [
        {"object": "embedding", "index": index, "embedding": _base64(each) if kind == "base64" else each}
        for index, each in enumerate(vectors)
    ]
    body: dict[str, Any] = {"object": "list", "data": rows, "model": posted.named}
    if not posted.together:
        body["usage"] = {"prompt_tokens": sum(counts), "total_tokens": sum(counts)}
    return posted.json(body, input_tokens=sum(counts), billed="input tokens")


def vector(text: str, dimensions: int = DIMENSIONS) -> list[float]:
    """The text's place on the unit sphere, the same wherever it is asked for.

    Fewer dimensions are the first ones of the whole vector, scaled to length 1 again.
    """
    whole = [0.0] * DIMENSIONS
    for word in _WORD.findall(text.lower()) or [text]:
        digest = hashlib.blake2b(word.encode("utf-8", "replace"), digest_size=4 * _PLACES).digest()
        for at in range(0, len(digest), 4):
            (number,) = struct.unpack_from("<I", digest, at)
            whole[number % DIMENSIONS] += 1.0 if number & 0x8000_0000 else -1.0
    kept = whole[:dimensions]
    if not any(kept):
        kept[0] = 1.0
    length = math.sqrt(math.fsum(each * each for each in kept))
    return [each / length for each in kept]


def _base64(values: Sequence[float]) -> str:
    """32-bit floats, little-endian."""
    return base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()


def _texts(posted: Posted) -> tuple[tuple[str, ...], list[int]]:
    """The inputs and their lengths in tokens. Tokens themselves are taken by engines only."""
    given: Any = posted.fields.get("input")
    if given is None:
        raise missing("input")
    if not posted.together and is_list(given) and given and not isinstance(given[0], str):
        rows = [given] if isinstance(given[0], int) else given
        if any(not is_list(row) or not row or any(not isinstance(each, int) for each in row) for row in rows):
            raise NotAcceptedError('"input" must be texts or lists of tokens.', param="input")
        return tuple(" ".join(map(str, row)) for row in rows), [len(row) for row in rows]
    texts = posted.words("input")
    if not texts or not all(texts):
        raise NotAcceptedError('"input" must not be empty.', param="input")
    return texts, [tokens_of(text) for text in texts]
