"""The door inside the process takes streamed bodies."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hybrid_infer.calls.uploads import upload_of
from hybrid_infer.errors import UploadError
from hybrid_infer.runtime.step import step
from hybrid_infer.runtime.virtual import VirtualThreads
from hybrid_infer.simulator.door import SimulatedTransport
from hybrid_infer.simulator.world import World
from hybrid_infer.transport.base import BodyReader, Origin, WireRequest
from hybrid_infer.transport.bodies import Multipart
from simulator.simulated import post

ORIGIN = Origin(scheme="https", host="simulated.example", port=443)


class Slices:
    """A body in pieces of seven bytes."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.length = len(content)

    def open(self) -> BodyReader:
        return self._Reader(self._content)

    class _Reader:
        def __init__(self, rest: bytes) -> None:
            self._rest = rest

        def read(self) -> bytes:
            piece, self._rest = self._rest[:7], self._rest[7:]
            return piece

        def close(self) -> None: ...


def test_a_streamed_body_is_answered_like_the_same_bytes() -> None:
    plain = post()
    answers: list[object] = []
    for body in (plain.body, Slices(plain.body)):
        runtime = VirtualThreads()
        transport = SimulatedTransport(World(seed=1), runtime=runtime, mode="together-serverless")
        request = WireRequest(
            method="POST",
            origin=ORIGIN,
            path=plain.path,
            headers=tuple(plain.headers.items()),
            body=body,
        )
        answer = step(transport.send(request, until=1e6))
        content = b""
        while piece := step(answer.read(1e6)):
            content += piece
        answers.append((answer.status, json.loads(content)["choices"]))
    assert answers[0] == answers[1]


def test_a_file_that_is_gone_ends_a_simulated_call_like_a_real_one(tmp_path: Path) -> None:
    path = tmp_path / "sound.wav"
    path.write_bytes(b"x")
    form = Multipart([], [upload_of("file", path)])
    path.unlink()
    runtime = VirtualThreads()
    transport = SimulatedTransport(World(seed=1), runtime=runtime, mode="together-serverless")
    request = WireRequest(method="POST", origin=ORIGIN, path="/v1/files", headers=(), body=form)
    with pytest.raises(UploadError, match="cannot be read any more"):
        step(transport.send(request, until=1e6))
