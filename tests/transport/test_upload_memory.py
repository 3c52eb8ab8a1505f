"""A file on its way out is never in memory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from wire_server import Peer, Server, answering, response

pytestmark = pytest.mark.real_time
SIZE = 500_000_000
MOST = 40
"""MB that the upload may add to what the process needs anyway."""

CLIENT = """
import asyncio, sys, time
from pathlib import Path
from hybrid_infer.calls.uploads import upload_of
from hybrid_infer.runtime.step import step
from hybrid_infer.transport.base import Origin, WireRequest
from hybrid_infer.transport.bodies import Multipart
from hybrid_infer.transport.choose import async_transport, blocking_transport
from hybrid_infer.transport.environment import Limits

colour, port, small, large = sys.argv[1:]
limits = Limits(connect_timeout=5.0, max_connections=4, max_keepalive=4, keepalive_expiry=5.0)
make = blocking_transport if colour == "sync" else async_transport

def peak():
    # Not ru_maxrss, which a process inherits from the one that started it.
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) // 1000

async def main():
    transport = make(clock=time.monotonic, limits=limits, environ={})
    peaks = []
    for path in (small, large):
        form = Multipart([], [upload_of("file", path)])
        request = WireRequest(
            method="POST",
            origin=Origin(scheme="http", host="127.0.0.1", port=int(port)),
            path="/",
            headers=[("content-type", form.content_type)],
            body=form,
        )
        until = time.monotonic() + 30
        answer = await transport.send(request, until=until)
        assert (answer.status, await answer.read(until)) == (200, b"ok")
        await answer.aclose()
        peaks.append(peak())
    await transport.aclose()
    print(peaks[1] - peaks[0])

step(main()) if colour == "sync" else asyncio.run(main())
"""


class Sink(Server):
    """Takes bodies, keeps nothing of them, and counts."""

    def __init__(self, act: object) -> None:
        self.taken: list[int] = []
        super().__init__(answering(response(b"ok")))

    def serve(self, peer: Peer) -> None:
        buffer = bytearray(1_000_000)
        while head := peer.socket.recv(65_536):
            fields, _, begun = head.partition(b"\r\n\r\n")
            left = length = int(fields.lower().partition(b"content-length:")[2].split()[0])
            left -= len(begun)
            while left > 0:
                got = peer.socket.recv_into(buffer)
                if not got:
                    return
                left -= got
            self.taken.append(length)
            peer.send(response(b"ok"))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from Linux' /proc")
@pytest.mark.parametrize("kind", ["httpcore", "aiohttp"])
def test_a_large_file_is_sent_in_little_memory(
    serve: Callable[..., Server], colour: str, tmp_path: Path
) -> None:
    server = serve(None, of=Sink)
    assert isinstance(server, Sink)
    small, large = tmp_path / "small", tmp_path / "large"
    for path, size in ((small, 1_000_000), (large, SIZE)):
        with path.open("wb") as file:
            file.truncate(size)
    command = [sys.executable, "-c", CLIENT, colour, str(server.port), str(small), str(large)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout) <= MOST
    assert server.taken[1] > SIZE
