"""BatchJob: one batch on its way, and what its lines turn into. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic_core import from_json, to_json

from hybrid_infer.simulator.ask import NotAcceptedError
from hybrid_infer.simulator.shapes import is_object

VALIDATING = 5.0
"""Seconds in this state."""

WAITING = 20.0
"""Seconds in progress before the first line is done."""

EACH_LINE = 0.5
"""Seconds from one line to the next. All three are assumptions: real batches take minutes to hours."""

CANCELLING = 3.0
"""Seconds in OpenAI's state of that name."""

State = Literal["validating", "in_progress", "completed", "failed", "expired", "cancelling", "cancelled"]

_WINDOW = re.compile(r"(\d{1,4})\s*([smhd])")
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_LONGEST_ID = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of the input. `problem` is why it cannot be answered; `number` counts from 1."""

    number: int
    custom_id: str | None
    body: dict[str, Any]
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What became of a line: an answer, or an error with its code."""

    line: Line
    body: Any = None
    input_tokens: int = 0
    output_tokens: int = 0
    status: int = 200
    code: str | None = None
    message: str | None = None


@dataclass(slots=True, kw_only=True, eq=False)
class BatchJob:
    """A batch.

    Attributes:
        created: in seconds of the world, as all its times.
        window: seconds until it expires.
        problem: why it fails when it has been validated.
        cancelled: when somebody gave it up.
        slow: whether giving up takes its time.
        results: of all lines that were answered, when the end has come.
    """

    id: str
    endpoint: str
    input_file_id: str
    input_bytes: int
    model: str | None
    window_text: str
    created: float
    window: float
    lines: tuple[Line, ...]
    problem: str | None
    slow: bool
    metadata: Any = None
    cancelled: float | None = None
    results: list[Answered] | None = None
    files: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def begins(self) -> float:
        """When it has been validated."""
        return self.created + VALIDATING

    @property
    def deadline(self) -> float:
        return self.created + self.window

    @property
    def ends(self) -> float:
        """When nothing more will change, if nobody gives it up."""
        if self.problem is not None:
            return self.begins
        if self.cancelled is not None:
            return self.cancelled + (CANCELLING if self.slow else 0.0)
        return min(self.begins + WAITING + EACH_LINE * len(self.lines), max(self.begins, self.deadline))

    def state(self, now: float) -> State:
        """How far it is."""
        if self.cancelled is not None:
            return "cancelled" if now >= self.ends else "cancelling"
        if now < self.begins:
            return "validating"
        if self.problem is not None:
            return "failed"
        if now < self.ends:
            return "in_progress"
        return "expired" if self.done(self.ends) < len(self.lines) else "completed"

    def done(self, now: float) -> int:
        """Lines that are answered."""
        until = min(now, self.ends) if self.cancelled is None else min(now, self.cancelled)
        if self.problem is not None:
            return 0
        spent = until - self.begins - WAITING
        return max(0, min(len(self.lines), int(spent / EACH_LINE + 1e-6)))


def window_of(text: str) -> float:
    """Seconds of a window such as ``24h``.

    Raises:
        NotAcceptedError: it is none.
    """
    found = _WINDOW.fullmatch(text)
    if found is None:
        raise NotAcceptedError('"completion_window" must be like 24h.', param="completion_window")
    return int(found[1]) * _SECONDS[found[2]]


def lines_of(data: bytes) -> tuple[Line, ...]:
    """The lines of an input; empty ones are left out."""
    seen: set[str] = set()
    lines: list[Line] = []
    for number, raw in enumerate(data.split(b"\n"), start=1):
        if raw.strip():
            line = _line(number, raw, seen)
            seen |= {line.custom_id} if line.custom_id is not None else set[str]()
            lines.append(line)
    return tuple(lines)


def _line(number: int, raw: bytes, seen: set[str]) -> Line:
    try:
        read: Any = from_json(raw)
    except ValueError:
        return Line(number=number, custom_id=None, body={}, problem="The line is not valid JSON.")
    id: Any = read.get("custom_id") if is_object(read) else None
    body: Any = read.get("body") if is_object(read) else None
    if not isinstance(id, str) or not id or len(id) > _LONGEST_ID:
        problem = f'"custom_id" must be a string of 1 to {_LONGEST_ID} characters.'
        return Line(number=number, custom_id=None, body={}, problem=problem)
    if id in seen:
        return Line(number=number, custom_id=id, body={}, problem=f"The custom_id {id!r} came before.")
    if not is_object(body):
        return Line(number=number, custom_id=id, body={}, problem='"body" must be an object.')
    return Line(number=number, custom_id=id, body=body)


Answer = Callable[[Line, BatchJob], Answered]


def as_jsonl(rows: list[dict[str, Any]]) -> bytes:
    """Rows as a file has them."""
    return b"".join(to_json(row) + b"\n" for row in rows)
