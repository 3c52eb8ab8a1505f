"""``POST /v1/audio/speech``: a tone for every word. Pure.

There is no encoder but PCM: whatever format is asked for, the answer is a WAV file and says so in its content
type; ``raw`` and ``pcm`` are its samples alone. Together streams are raw samples in server-sent events.
"""

from __future__ import annotations

import base64

from hybrid_infer.simulator import engine_wire, together_wire
from hybrid_infer.simulator.ask import NotAcceptedError
from hybrid_infer.simulator.exchange import Headers
from hybrid_infer.simulator.operations.made import Made, Posted
from hybrid_infer.simulator.operations.sounds import pcm, wav
from hybrid_infer.simulator.together_wire import DONE, event
from hybrid_infer.simulator.units import Units

RATE = 24_000
LONGEST = 10_000
ENGINE_LONGEST = 4096
"""Characters of one request: OpenAI's limit; Together's is not known to us, so 10,000 is an assumption."""

_FORMATS = ("mp3", "wav", "raw", "pcm", "opus", "flac", "aac")
_TOKENS_PER_SECOND = 25
"""Tokens of audio in a second of it (an assumption): a stream is a little faster than it is heard."""

_CHUNKS_PER_SECOND = 4


def speech(posted: Posted) -> Made:
    """Say a text."""
    text = posted.needed("input")
    longest = LONGEST if posted.together else ENGINE_LONGEST
    if len(text) > longest:
        raise NotAcceptedError(f'"input" must not have more than {longest} characters.', param="input")
    if posted.together:
        posted.needed("voice")
    stream = posted.flag("stream")
    form = posted.choice("response_format", _FORMATS, "raw" if stream and posted.together else "wav")
    if stream and posted.together and form != "raw":
        raise NotAcceptedError("Streams are raw audio only.", param="response_format")
    rate = posted.whole("sample_rate", RATE, least=8000, most=48_000)
    samples = pcm(text, rate)
    tokens = max(1, round(len(samples) / 2 / rate * _TOKENS_PER_SECOND))
    if stream and posted.together:
        headers: Headers = together_wire.EVENTS
        pieces = [
            (needs, event({"object": "audio.tts.chunk", "model": posted.named, "b64": _base64(part)}))
            for needs, part in _parts(samples, rate, tokens)
        ]
        pieces.append((tokens, DONE))
    else:
        raw = form in ("raw", "pcm")
        data = samples if raw else wav(samples, rate)
        headers = _headers("audio/pcm" if raw else "audio/wav")
        pieces = [(tokens, data)] if posted.together else _parts(data, rate, tokens)
    return Made(
        model=posted.model,
        input_tokens=max(1, len(text) // 4),
        output_tokens=tokens,
        headers=headers,
        pieces=tuple(pieces),
        billed=Units(unit="characters", quantity=len(text)),
    )


def _parts(data: bytes, rate: int, tokens: int) -> list[tuple[int, bytes]]:
    """Pieces of a quarter of a second, each when as much of the work is done."""
    size = 2 * rate // _CHUNKS_PER_SECOND
    starts = range(0, len(data), size)
    return [
        (max(1, -(-tokens * (index + 1) // len(starts))), data[start : start + size])
        for index, start in enumerate(starts)
    ]


def _headers(kind: str) -> Headers:
    simulated = [header for header in engine_wire.JSON if header[0] == "x-simulated"]
    return (("content-type", kind), *simulated)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
