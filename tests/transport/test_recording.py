"""vcrpy records and replays what goes over httpx and aiohttp."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import vcr

from carriers import Carrier, request, soon, whole
from hybrid_infer.transport.base import header
from wire_server import CHUNKED, LAST, Server, answering, chunk

pytestmark = pytest.mark.real_time


@pytest.mark.parametrize(
    "kind", ["httpx-given", "aiohttp", "httpx-async", "httpx-async-given"], indirect=True
)
async def test_a_stream_is_recorded_and_replayed(
    carrier: Carrier, serve: Callable[..., Server], tmp_path: Path
) -> None:
    server = serve(answering(CHUNKED + chunk(b"data: 1\n\n") + chunk(b"data: 2\n\n") + LAST))
    cassette = tmp_path / "cassette.yaml"
    async with carrier:
        transport = carrier.make()
        for _ in range(2):
            with vcr.use_cassette(str(cassette), filter_headers=["authorization"]):
                answer = await transport.send(
                    request(server.origin, b'{"a": 1}', authorization="Bearer secret-1"), until=soon()
                )
                assert await whole(answer) == b"data: 1\n\ndata: 2\n\n"
                assert (answer.status, header(answer.headers, "content-type")) == (200, "text/event-stream")
    assert len(server.seen) == 1
    assert "secret-1" not in cassette.read_text()
