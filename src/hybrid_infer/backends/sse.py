"""Server-sent events: bytes to events, by the rules of the WHATWG HTML standard, section 9.2.6."""

from __future__ import annotations

from typing import TypeAlias

_BOM = b"\xef\xbb\xbf"


SseEvent: TypeAlias = tuple[str, bytes]
"""One event: its name (``"message"`` unless it has its own) and its data, lines joined by ``\\n``."""


class SseSplitter:
    """Splits a stream into events; how its bytes are cut into pieces makes no difference.

    Each byte is looked at a fixed number of times, also where one line comes in many pieces. Fields other
    than ``event`` and ``data`` serve reconnecting, which a POST cannot, and are left out.
    """

    __slots__ = ("_at_start", "_data", "_line", "_name", "_skip_newline")

    def __init__(self) -> None:
        self._line: list[bytes] = []
        self._data: list[bytes] = []
        self._name = ""
        self._at_start = True
        self._skip_newline = False

    def feed(self, data: bytes) -> list[SseEvent]:
        """The events that these bytes complete."""
        if self._skip_newline and data:
            self._skip_newline = False
            if data.startswith(b"\n"):
                data = data[1:]
        if b"\n" not in data and b"\r" not in data:
            if data:
                self._line.append(data)
            return []
        if self._line:
            self._line.append(data)
            data = b"".join(self._line)
            self._line.clear()
        lines = data.splitlines()
        if data.endswith(b"\r"):
            self._skip_newline = True
        elif not data.endswith(b"\n"):
            self._line.append(lines.pop())
        return self._read(lines)

    def flush(self) -> list[SseEvent]:
        """The event that the end of the stream completes, where the closing blank line did not come.

        The standard drops such an event; servers that leave the line out mean it.
        """
        lines = [b"".join(self._line), b""] if self._line else [b""]
        self._line.clear()
        self._skip_newline = False
        return self._read(lines)

    def _read(self, lines: list[bytes]) -> list[SseEvent]:
        if self._at_start:
            self._at_start = False
            lines[0] = lines[0].removeprefix(_BOM)
        events: list[SseEvent] = []
        data = self._data
        for line in lines:
            if line.startswith(b"data: "):  # nearly all that are not empty
                data.append(line[6:])
            elif not line:
                if data:
                    events.append((self._name or "message", b"\n".join(data)))
                    data.clear()
                self._name = ""
            else:
                field, _, value = line.partition(b":")
                if field == b"data":
                    data.append(value)
                elif field == b"event":
                    self._name = value.removeprefix(b" ").decode("utf-8", "replace")
        return events
