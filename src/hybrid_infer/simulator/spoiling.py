"""What faults do to an answer that the provider has begun: they delay, cut or garble it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hybrid_infer.simulator.exchange import Headers, Response
from hybrid_infer.simulator.faults import Fault
from hybrid_infer.simulator.together_wire import event

_COMMENT = b": still here\n\n"
_EMPTY = event({"id": "", "object": "chat.completion.chunk", "created": 0, "model": "", "choices": []})
"""A sign of life that looks like a chunk and carries nothing."""

_NOISE = b"data: upstream connect error or disconnect/reset before headers\n\n"
_FINISH = b'"finish_reason":"'
_CONTENTS, _TOOL = (b'"content":"', b'"text":"', b'"b64":"'), b'"tool_calls":[{'
"""What begins content: of chat, of completions, of speech."""

Pieces = tuple[tuple[int, bytes], ...]


def spoiled(response: Response, fault: Fault) -> Response:
    """The answer as the fault leaves it."""
    if fault.kind == "drip":
        return _dripping(response, fault.value("seconds"))
    if fault.kind == "slow_first_token":
        return _late(response, fault)
    if fault.kind == "malformed_event":
        return _malformed(response, fault)
    if fault.kind == "error_event":
        return _failing(response, fault)
    pieces, cut = _cut(response, fault)
    if fault.kind == "stall":
        every, beat = fault.value("keep_alive"), _EMPTY if fault.value("variant") == "event" else _COMMENT
        pulse = (every, beat) if every is not None and is_stream(response) else None
        return replace(cut, pieces=pieces, ending="silent", pulse=pulse)
    if fault.kind == "reset_mid_body":
        return replace(cut, pieces=pieces, ending="reset")
    if fault.value("variant") == "broken":
        return replace(cut, pieces=pieces, ending="cut")
    return replace(response, pieces=pieces, ending="short")


def is_stream(response: Response) -> bool:
    """Whether the answer comes as server-sent events."""
    kinds = (value for name, value in response.headers if name == "content-type")
    return any(kind.startswith("text/event-stream") for kind in kinds)


def _cut(response: Response, fault: Fault) -> tuple[Pieces, Response]:
    """The pieces that still come, and the answer with its full length told where it is one in one piece."""
    size = fault.bytes
    if is_stream(response):
        if size is None:
            kept = response.pieces[: min(fault.value("events"), _finish(response.pieces))]
        else:
            kept = _first_bytes(response.pieces, size)
        return kept or ((0, b""),), response
    whole = sum(len(piece) for _, piece in response.pieces)
    size = whole // 2 if size is None else min(size, max(0, whole - 1))
    return _first_bytes(response.pieces, size), _with_length(response, whole)


def _first_bytes(pieces: Pieces, size: int) -> Pieces:
    kept: list[tuple[int, bytes]] = []
    for needs, piece in pieces:
        kept.append((needs, piece[:size]))
        size -= len(piece)
        if size <= 0:
            break
    return tuple(kept)


def _with_length(response: Response, length: int) -> Response:
    headers: Headers = (*response.headers, ("content-length", str(length)))
    return replace(response, headers=headers)


def _finish(pieces: Sequence[tuple[int, bytes]]) -> int:
    """Where the stream says that it is finished: what is cut before loses that."""
    return next((index for index, (_, piece) in enumerate(pieces) if _FINISH in piece), len(pieces))


def _dripping(response: Response, seconds: float) -> Response:
    bytes_ = tuple(
        (needs, piece[at : at + 1]) for needs, piece in response.pieces for at in range(len(piece))
    )
    if not is_stream(response):
        response = _with_length(response, len(bytes_))
    return replace(response, pieces=bytes_, gaps=(0.0, *[seconds] * (len(bytes_) - 1)))


def _late(response: Response, fault: Fault) -> Response:
    """The gap stands before the whole answer, or before the first content of a stream whose head comes."""
    seconds = fault.value("seconds")
    if fault.value("variant") == "head" or not is_stream(response):
        return replace(response, gaps=(seconds,))
    pieces = ((0, b""), *response.pieces)
    first = next((i for i, (_, piece) in enumerate(pieces) if _has_content(piece)), len(pieces) - 1)
    return replace(response, pieces=pieces, gaps=(*[0.0] * first, seconds))


def _has_content(piece: bytes) -> bool:
    return _TOOL in piece or any(start in piece and start + b'"' not in piece for start in _CONTENTS)


def _malformed(response: Response, fault: Fault) -> Response:
    """Noise comes in addition; damage loses the half of an event that has content."""
    damaged = fault.value("variant") == "damaged"
    pieces: Pieces = response.pieces
    if not is_stream(response):
        needs, body = pieces[-1][0], b"".join(piece for _, piece in pieces)
        return replace(response, pieces=((needs, body[: len(body) // 2] if damaged else _NOISE),))
    events: int = fault.value("events")
    at = min(events, _finish(pieces))
    if not damaged:
        needs = pieces[max(0, at - 1)][0]
        return replace(response, pieces=(*pieces[:at], (needs, _NOISE), *pieces[at:]))
    at = min(at, max(0, _finish(pieces) - 1))
    needs, piece = pieces[at]
    half = piece.rstrip(b"\n")[: len(piece) // 2] + b"\n\n"
    return replace(response, pieces=(*pieces[:at], (needs, half), *pieces[at + 1 :]))


def _failing(response: Response, fault: Fault) -> Response:
    """An error object inside a success; a stream ends after it, without an end mark."""
    code, message = fault.value("code"), fault.value("message")
    failure = event({"error": {"message": message, "type": code, "param": None, "code": code}})
    if not is_stream(response):
        body = failure.removeprefix(b"data: ").rstrip(b"\n")
        return replace(response, pieces=((response.pieces[-1][0], body),))
    pieces = response.pieces[: min(fault.value("events"), _finish(response.pieces))]
    needs = pieces[-1][0] if pieces else response.pieces[0][0]
    return replace(response, pieces=(*pieces, (needs, failure)), ending="short")
