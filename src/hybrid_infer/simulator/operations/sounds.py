"""Sounds: how long a recording is and what it is said to contain; tones in place of speech. Pure.

No recording is understood. A text file in place of one is its own transcript, so that an example with
transcripts can show what follows a transcription.
"""

from __future__ import annotations

import hashlib
import io
import math
import re
import struct
import wave
from dataclasses import dataclass
from random import Random

from hybrid_infer.simulator.answers import SIMULATED

CHARACTERS_PER_SECOND = 15.0
"""Of speech, about right for English."""

_BYTES_PER_SECOND = 16_000
"""Of a recording that is no WAV file: 128 kbit/s."""

_LONGEST = 4 * 3600.0
_STAMP = re.compile(r"^\[(?:(\d+):)?(\d+):(\d\d)\][ \t]*", re.MULTILINE)
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")
_SAID = (
    "Good morning everybody, let us begin.",
    "The numbers of last week are better than we expected.",
    "I will send the report to all of you by Friday.",
    "There is one open question about the schedule.",
    "We agreed to look at it again next month.",
    "Could somebody take notes today?",
    "The customer asked for a shorter answer.",
    "Let us keep it simple and try it first.",
    "That is all from my side, thank you.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A piece of what was said, in seconds from the beginning."""

    start: float
    end: float
    text: str

    def words(self) -> list[tuple[str, float, float]]:
        """Its words, with when they begin and end: by their lengths."""
        words = self.text.split()
        total = sum(map(len, words)) or 1
        spent, timed = 0, list[tuple[str, float, float]]()
        for word in words:
            begin = self.start + (self.end - self.start) * spent / total
            spent += len(word)
            timed.append(
                (word, round(begin, 2), round(self.start + (self.end - self.start) * spent / total, 2))
            )
        return timed


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """A recording as it was understood."""

    duration: float
    text: str
    segments: tuple[Segment, ...]


def heard(data: bytes, seed: int) -> Heard:
    """What a recording contains: made up from its bytes, or the text that it is."""
    text = transcript(data)
    if text is not None:
        return _read_aloud(text)
    duration = length(data)
    chance = Random(hashlib.blake2b(data, key=str(seed).encode()[:64], digest_size=16).digest())
    said: list[str] = []
    while not said or sum(map(len, said)) < duration * CHARACTERS_PER_SECOND:
        said.append(chance.choice(_SAID))
    return Heard(
        duration=duration,
        text=f"{SIMULATED} " + " ".join(said),
        segments=_spread(said, 0.0, duration),
    )


def transcript(data: bytes) -> str | None:
    """The text in a file of text; None if it is none."""
    if not data or b"\0" in data:
        return None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None
    return text.strip() if text.strip() and all(c.isprintable() or c in "\r\n\t" for c in text) else None


def length(data: bytes) -> float:
    """Seconds: as a WAV file says, else by its size; at most four hours."""
    try:
        with wave.open(io.BytesIO(data), "rb") as file:
            frame = file.getnchannels() * file.getsampwidth()
            frames = min(file.getnframes(), len(data) // max(1, frame))
            seconds = frames / file.getframerate()
    except (wave.Error, EOFError, ZeroDivisionError, struct.error):
        seconds = len(data) / _BYTES_PER_SECOND
    return min(max(0.1, round(seconds, 2)), _LONGEST)


def pcm(text: str, rate: int) -> bytes:
    """A tone for every word and silence between, as 16-bit little-endian samples of one channel."""
    sounds: list[bytes] = []
    for word in text.split() or [""]:
        samples = max(1, round(rate * (len(word) + 1) / CHARACTERS_PER_SECOND))
        digest = hashlib.blake2b(word.encode("utf-8", "replace"), digest_size=1).digest()
        period = max(2, rate // (180 + digest[0]))
        wavelet = struct.pack(
            f"<{period}h", *(round(6000 * math.sin(2 * math.pi * at / period)) for at in range(period))
        )
        tone = round(samples * 0.8)
        sounds.append((wavelet * (tone // period + 1))[: 2 * tone] + bytes(2 * (samples - tone)))
    return b"".join(sounds)


def wav(samples: bytes, rate: int) -> bytes:
    """A WAV file of 16-bit samples of one channel."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples)
    return out.getvalue()


def _read_aloud(text: str) -> Heard:
    """A transcript keeps its own times where its lines begin with them, such as ``[02:10]``."""
    stamps = [(match.start(), match.end(), _seconds(match)) for match in _STAMP.finditer(text)]
    if not stamps:
        said = [part.strip() for part in _SENTENCE.split(text) if part.strip()]
        duration = round(max(0.1, len(text) / CHARACTERS_PER_SECOND), 2)
        return Heard(duration=duration, text=text, segments=_spread(said, 0.0, duration))
    segments: list[Segment] = []
    for index, (_, begin, start) in enumerate(stamps):
        said_here = text[begin : stamps[index + 1][0] if index + 1 < len(stamps) else len(text)].strip()
        natural = start + max(0.1, len(said_here) / CHARACTERS_PER_SECOND)
        end = max(start, stamps[index + 1][2]) if index + 1 < len(stamps) else natural
        segments.append(Segment(start=round(start, 2), end=round(end, 2), text=said_here))
    duration = max(segment.end for segment in segments)
    return Heard(duration=min(duration, _LONGEST), text=text, segments=tuple(segments))


def _seconds(match: re.Match[str]) -> float:
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return 3600.0 * hours + 60 * minutes + seconds


def _spread(said: list[str], start: float, end: float) -> tuple[Segment, ...]:
    """Sentences one after the other, each as long as its text."""
    total = sum(map(len, said)) or 1
    spent, segments = 0, list[Segment]()
    for text in said:
        begin = start + (end - start) * spent / total
        spent += len(text)
        until = start + (end - start) * spent / total
        segments.append(Segment(start=round(begin, 2), end=round(until, 2), text=text))
    return tuple(segments)
