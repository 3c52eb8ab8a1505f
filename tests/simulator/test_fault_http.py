"""Faults on the wire: what a raw socket sees of the simulator's HTTP door, in short real times."""

from __future__ import annotations

import contextlib
import errno
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from hybrid_infer.simulator.fault_catalogue import ALL_FAULTS
from hybrid_infer.simulator.fault_file import table_of
from hybrid_infer.simulator.fault_rules import FaultPlan, Faults
from hybrid_infer.simulator.faults import Fault
from hybrid_infer.simulator.server import SimulatorServer
from hybrid_infer.simulator.world import World
from simulator.simulated import post

pytestmark = pytest.mark.real_time

SPEED = 20.0
SHORT = 0.3
"""Real seconds in which nothing is to come."""


@contextlib.contextmanager
def served(faults: Faults | None, speed: float = SPEED) -> Iterator[SimulatorServer]:
    server = SimulatorServer(World(faults=faults), speed=speed)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield server
    finally:
        server.stop()
        thread.join()


def connected(server: SimulatorServer) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=10)


def request(*, stream: bool = False, path: str = "/v1/chat/completions") -> bytes:
    body = post(stream=stream).body
    head = (
        f"POST {path} HTTP/1.1\r\nhost: simulator\r\nauthorization: Bearer x\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def everything(connection: socket.socket) -> tuple[bytes, OSError | None]:
    """All that comes until the server closes or the connection breaks."""
    received = b""
    try:
        while data := connection.recv(65_536):
            received += data
    except OSError as error:
        return received, error
    return received, None


def asked(server: SimulatorServer, *, stream: bool = False) -> tuple[bytes, bytes, OSError | None]:
    """Head, body as on the wire, and how it broke."""
    with connected(server) as connection:
        connection.sendall(request(stream=stream))
        connection.settimeout(SHORT * 4)
        received, error = everything(connection)
    head, _, body = received.partition(b"\r\n\r\n")
    return head.lower(), body, error


def is_reset(error: OSError | None) -> bool:
    return isinstance(error, ConnectionResetError)


either = pytest.mark.parametrize("stream", [False, True], ids=["unary", "stream"])


@either
def test_a_reset_before_headers_is_a_reset_on_the_wire(stream: bool) -> None:
    with served(Fault("reset_before_headers", seconds=1)) as server:
        head, _, error = asked(server, stream=stream)
    assert (head, is_reset(error)) == (b"", True)


@either
def test_a_reset_in_the_body_comes_after_what_was_sent(stream: bool) -> None:
    with served(Fault("reset_mid_body")) as server:
        head, body, error = asked(server, stream=stream)
    assert head.startswith(b"http/1.1 200")
    assert is_reset(error)
    assert len(body) > 100


@either
def test_silence_is_silence(stream: bool) -> None:
    with served(Fault("silence")) as server:
        head, _, error = asked(server, stream=stream)
        assert (head, type(error)) == (b"", TimeoutError)
        wait_for(lambda: server_state(server)["seen"]["open"] == 0)
        assert server_state(server)["seen"]["cancelled"] == 1


def test_a_truncated_stream_ends_its_chunks_properly() -> None:
    with served(Fault("truncate")) as server, httpx.Client() as client:
        url = f"http://127.0.0.1:{server.port}/v1/chat/completions"
        got = client.post(url, content=post(stream=True).body, headers={"authorization": "Bearer x"})
    assert (got.status_code, got.headers["transfer-encoding"]) == (200, "chunked")
    assert got.content.count(b"data: ") == 3 and b"[DONE]" not in got.content


def test_a_truncated_answer_has_the_length_it_says() -> None:
    with served(Fault("truncate")) as server, httpx.Client() as client:
        url = f"http://127.0.0.1:{server.port}/v1/chat/completions"
        got = client.post(url, content=post().body, headers={"authorization": "Bearer x"})
    assert int(got.headers["content-length"]) == len(got.content)
    with pytest.raises(ValueError, match=r"Unterminated|Expecting"):
        got.json()


@either
def test_a_broken_body_lacks_its_end_on_the_wire(stream: bool) -> None:
    with served(Fault("truncate", variant="broken")) as server:
        head, body, error = asked(server, stream=stream)
    assert error is None  # closed in order, and too early
    if stream:
        assert b"transfer-encoding: chunked" in head and not body.endswith(b"0\r\n\r\n")
    else:
        assert f"content-length: {len(body)}".encode() not in head and b"content-length" in head


def test_a_drip_is_a_byte_at_a_time_on_the_wire() -> None:
    with served(Fault("drip", seconds=0.02), speed=1.0) as server, connected(server) as connection:
        connection.sendall(request())
        pieces = [connection.recv(65_536) for _ in range(6)]
    assert pieces[0].lower().startswith(b"http/1.1 200")
    assert [len(piece) for piece in pieces[2:]] == [1] * 4


def test_a_stall_sends_signs_of_life_and_nothing_else() -> None:
    with served(Fault("stall", keep_alive=1)) as server, connected(server) as connection:
        connection.sendall(request(stream=True))
        connection.settimeout(SHORT)
        received = b""
        while received.count(b": still here") < 3:
            received += connection.recv(65_536)
        assert received.count(b"data: ") == 3


@either
@pytest.mark.parametrize(
    "name", ["refuse_some", "status_503", "saturated_with_a_hint", "cold", "wrong_content_type"]
)
def test_what_stands_in_front_answers_at_once(name: str, stream: bool) -> None:
    rule = Fault("refuse").when(on=1) if name == "refuse_some" else ALL_FAULTS[name]
    with served(rule) as server:
        head, body, error = asked_once(server, stream=stream)
    if name == "refuse_some":
        assert (head, is_reset(error)) == (b"", True)
        return
    assert b"date: " in head
    assert f"content-length: {len(body)}".encode() in head
    assert (b"retry-after: 2" in head) is (name == "saturated_with_a_hint")
    assert (b"text/html" in head) is (name == "wrong_content_type")


def asked_once(server: SimulatorServer, *, stream: bool) -> tuple[bytes, bytes, OSError | None]:
    """As `asked`, without waiting for the end of a connection that is kept."""
    with connected(server) as connection:
        connection.sendall(request(stream=stream))
        try:
            received = connection.recv(65_536)
        except OSError as error:
            return b"", b"", error
    head, _, body = received.partition(b"\r\n\r\n")
    return head.lower(), body, None


def test_a_skewed_clock_shows_in_the_date_of_the_answer() -> None:
    with served([Fault("clock_skew", seconds=86_400).when(on=1)]) as server, httpx.Client() as client:
        url = f"http://127.0.0.1:{server.port}/v1/chat/completions"
        headers = {"authorization": "Bearer x"}
        wrong, right = (client.post(url, content=post().body, headers=headers) for _ in range(2))
    assert wrong.headers["date"].startswith("Tue, 03 Nov 2026") and wrong.headers["retry-after"].endswith(
        "GMT"
    )
    assert right.headers["date"].startswith("Mon, 02 Nov 2026")
    assert wrong.headers.get_list("date") == [wrong.headers["date"]]


def test_a_redirected_cold_start_leads_to_the_answer() -> None:
    with (
        served(Fault("cold", variant="redirect", seconds=4)) as server,
        httpx.Client(follow_redirects=True) as client,
    ):
        url = f"http://127.0.0.1:{server.port}/modal/v1/chat/completions"
        got = client.post(url, content=post().body, headers={"authorization": "Bearer x"})
    assert [each.status_code for each in got.history] == [303]
    assert (got.request.method, got.status_code) == ("GET", 200)
    assert got.json()["choices"]


def test_refusing_everybody_is_a_port_where_nobody_listens() -> None:
    """Kept connections are closed, and afterwards the same port answers again."""
    with served(None) as server, connected(server) as kept:
        kept.sendall(request())
        assert kept.recv(65_536).startswith(b"HTTP/1.1 200")
        server.use_faults(Fault("refuse"))
        assert everything(kept) == (b"", None)
        with pytest.raises(ConnectionRefusedError):
            connected(server)
        server.use_faults(None)
        wait_for(lambda: not refuses(server))
        assert asked_once(server, stream=False)[0].startswith(b"http/1.1 200")


def test_a_port_refuses_for_the_time_of_the_rule_alone() -> None:
    with served(Fault("refuse").when(since=1, until=10)) as server:
        assert asked_once(server, stream=False)[0].startswith(b"http/1.1 200")
        wait_for(lambda: refuses(server))
        wait_for(lambda: not refuses(server))
        assert asked_once(server, stream=False)[0].startswith(b"http/1.1 200")


def refuses(server: SimulatorServer) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", server.port)) == errno.ECONNREFUSED


def test_a_server_may_refuse_from_its_start() -> None:
    with served(Fault("refuse")) as server:
        wait_for(lambda: refuses(server))


def wait_for(condition: Any) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def server_state(server: SimulatorServer) -> Any:
    return httpx.get(f"http://127.0.0.1:{server.port}/simulator/state").json()


def test_faults_are_shown_and_changed_over_http() -> None:
    with served(None) as server, httpx.Client(base_url=f"http://127.0.0.1:{server.port}") as client:
        ask: Any = {
            "url": "/v1/chat/completions",
            "content": post().body,
            "headers": {"authorization": "Bearer x"},
        }
        plan = table_of(FaultPlan.of(Fault("status", status=418).when(on="2-")))
        assert client.get("/simulator/faults").json() == {"fault": [], "fired": []}
        assert client.post("/simulator/faults", json=plan).status_code == 200
        assert [client.post(**ask).status_code for _ in range(3)] == [200, 418, 418]
        shown = client.get("/simulator/faults").json()
        assert shown == {**plan, "fired": [{"counted": 3, "fired": 2}]}
        assert client.post("/simulator/faults", json=shown).json()["fired"] == [{"counted": 0, "fired": 0}]
        assert client.post("/simulator/faults", json={}).status_code == 200
        assert client.post(**ask).status_code == 200
        wrong = client.post("/simulator/faults", json={"fault": [{"kind": "stal"}, {}]})
        assert (wrong.status_code, len(wrong.json()["error"]["problems"])) == (400, 2)
        assert client.post("/simulator/faults", content=b"[").status_code == 400
        assert client.get("/simulator/nothing").status_code == 404


def test_requests_follow_each_other_on_one_connection() -> None:
    with served(None) as server, connected(server) as connection:
        for _ in range(3):
            connection.sendall(request(stream=True))
            received = b""
            while not received.endswith(b"0\r\n\r\n"):
                received += connection.recv(65_536)
            assert received.startswith(b"HTTP/1.1 200")
        connection.sendall(request() + request())
        received = b""
        while (
            received.count(b'"object":"chat.completion"') + received.count(b'"object": "chat.completion"') < 2
        ):
            received += connection.recv(65_536)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nh\r\n\r\n", b"400"),
    ],
)
def test_what_is_not_http_is_refused_and_the_connection_closed(sent: bytes, status: bytes) -> None:
    with served(None) as server, connected(server) as connection:
        connection.sendall(sent)
        received, error = everything(connection)
    assert received.startswith(b"HTTP/1.1 " + status)
    assert error is None


def test_a_large_body_is_asked_for_where_the_client_waits() -> None:
    body = post(text="a " * 60_000).body
    with served(None) as server, connected(server) as connection:
        head = (
            "POST /v1/chat/completions HTTP/1.1\r\nhost: s\r\nauthorization: Bearer x\r\n"
            f"content-length: {len(body)}\r\nexpect: 100-continue\r\n\r\n"
        )
        connection.sendall(head.encode())
        assert connection.recv(65_536).startswith(b"HTTP/1.1 100")
        connection.sendall(body)
        assert connection.recv(65_536).startswith(b"HTTP/1.1 200")


def test_a_head_request_gets_no_body() -> None:
    with served(None) as server:
        got = httpx.head(f"http://127.0.0.1:{server.port}/v1/models", headers={"authorization": "Bearer x"})
    assert (got.status_code, got.content) == (404, b"")


def test_answers_underway_come_to_their_end_when_the_server_stops() -> None:
    with served(None, speed=1.0) as server, connected(server) as connection:
        connection.sendall(request(stream=True))
        received = connection.recv(65_536)
        server.stop()
        rest, error = everything(connection)
    assert (received + rest).endswith(b"0\r\n\r\n")
    assert error is None
