"""``POST /v1/audio/transcriptions`` and ``/translations``: forms with a recording. Pure.

A recording is 50 tokens of the prompt a second (Whisper's encoder makes 1500 positions of 30 s), and its
text is the answer. Its windows of 30 s are written down side by side, so that it takes no longer than one.
"""

from __future__ import annotations

import math
from typing import Any

from hybrid_infer.simulator import engine_wire
from hybrid_infer.simulator.ask import NotAcceptedError, tokens_of
from hybrid_infer.simulator.operations.forms import is_form
from hybrid_infer.simulator.operations.made import Made, Posted, missing
from hybrid_infer.simulator.operations.sounds import Heard, heard
from hybrid_infer.simulator.units import Units

TOGETHER_BYTES = 80 * 1024**2
"""A larger file is 413 at Together (`together` 3.1.1)."""

_POSITIONS_PER_SECOND = 50
_WINDOW = 30
_FORMATS = ("json", "text", "verbose_json")


def transcriptions(posted: Posted) -> Made:
    """Write down what is said."""
    return _written(posted, "transcribe", posted.text("language"))


def translations(posted: Posted) -> Made:
    """Write down what is said, in English; the simulator makes no difference."""
    return _written(posted, "translate", "en")


def _written(posted: Posted, task: str, language: str | None) -> Made:
    form = posted.choice("response_format", _FORMATS, "json")
    granularities = posted.words("timestamp_granularities")
    if any(each not in ("word", "segment") for each in granularities):
        raise NotAcceptedError(
            '"timestamp_granularities" may hold word and segment.', param="timestamp_granularities"
        )
    if posted.flag("stream"):
        raise NotAcceptedError("Transcriptions are not streamed by the simulator.", param="stream")
    found = heard(_recording(posted), posted.seed)
    language = language if language not in (None, "auto") else "en"
    windows = max(1, math.ceil(found.duration / _WINDOW))
    text_tokens = max(1, math.ceil(tokens_of(found.text) / windows))
    positions = max(1, round(found.duration * _POSITIONS_PER_SECOND))
    billed = Units(unit="minutes", quantity=found.duration / 60)
    if form == "text":
        return Made(
            model=posted.model,
            input_tokens=positions,
            output_tokens=text_tokens,
            headers=engine_wire.TEXT,
            pieces=((text_tokens, found.text.encode() + b"\n"),),
            billed=billed,
        )
    body: dict[str, Any] = {"text": found.text}
    if form == "verbose_json":
        body = {"task": task, "language": language, "duration": found.duration, **body}
        body["segments"] = _segments(found, posted.together)
        if "word" in granularities:
            body["words"] = _words(found)
    if posted.together and posted.flag("diarize"):
        body |= _speakers(found)
    if not posted.together:
        body["usage"] = {"type": "duration", "seconds": found.duration}
    return posted.json(body, input_tokens=positions, output_tokens=text_tokens, billed=billed)


def _recording(posted: Posted) -> bytes:
    if not is_form(posted.request):
        raise NotAcceptedError("The body must be multipart/form-data.", code="invalid_content_type")
    upload = posted.form.uploads.get("file")
    if upload is None:
        address = posted.text("file") if posted.together else None
        if address is None:
            raise missing("file")
        if not address.startswith(("http://", "https://")):
            raise NotAcceptedError('"file" must be a file or a URL.', param="file")
        return address.encode() + b"\0"  # what is there is not fetched: made up from the address
    if not upload.data:
        raise NotAcceptedError("The file is empty.", param="file")
    if posted.together and len(upload.data) > TOGETHER_BYTES:
        raise NotAcceptedError("The file is larger than 80 MB.", param="file", status=413)
    return upload.data


def _segments(found: Heard, together: bool) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for index, segment in enumerate(found.segments):
        row: dict[str, Any] = {"id": index, "start": segment.start, "end": segment.end, "text": segment.text}
        if not together:
            row |= {
                "seek": 0,
                "tokens": [],
                "temperature": 0.0,
                "avg_logprob": 0.0,
                "compression_ratio": 1.0,
                "no_speech_prob": 0.0,
            }
        rows.append(row)
    return rows


def _words(found: Heard) -> list[dict[str, Any]]:
    return [
        {"word": word, "start": start, "end": end}
        for segment in found.segments
        for word, start, end in segment.words()
    ]


def _speakers(found: Heard) -> dict[str, Any]:
    """Whoever speaks: one after the other as names are found at the beginnings, else one for all."""
    known: dict[str, str] = {}
    rows: list[dict[str, Any]] = []
    for index, segment in enumerate(found.segments):
        name, colon, _ = segment.text.partition(":")
        name = name if colon and len(name) <= 40 and "\n" not in name else ""
        speaker = known.setdefault(name, f"SPEAKER_{len(known):02}")
        words = [
            {"word": word, "start": start, "end": end, "speaker_id": speaker}
            for word, start, end in segment.words()
        ]
        rows.append(
            {
                "id": index,
                "speaker_id": speaker,
                "start": segment.start,
                "end": segment.end,
                "text": segment.text,
                "words": words,
            }
        )
    return {"speaker_segments": rows, "words": [word for row in rows for word in row["words"]]}
