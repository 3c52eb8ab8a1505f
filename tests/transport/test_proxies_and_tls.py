"""Proxies and certificates as the environment names them, over real sockets."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest

from carriers import OURS, Carrier, request, soon, whole
from hybrid_infer.errors import ConfigurationError
from hybrid_infer.transport.base import TransportError, TransportTimeout
from wire_server import (
    Blunt,
    Certificate,
    Mute,
    Peer,
    ProxyServer,
    Seen,
    Server,
    SocksServer,
    answering,
    basic,
    response,
)

pytestmark = [pytest.mark.real_time, pytest.mark.parametrize("kind", OURS, indirect=True)]
Serve = Callable[..., Server]
Proxied = Callable[..., ProxyServer]


def trusting(localhost: Certificate, **more: str) -> dict[str, str]:
    return {"SSL_CERT_FILE": str(localhost.file), **more}


async def test_a_trusted_certificate_is_accepted(
    carrier: Carrier, serve: Serve, localhost: Certificate
) -> None:
    server = serve(answering(response(b"ok")), tls=localhost.server())
    async with carrier:
        transport = carrier.make(environ=trusting(localhost))
        for _ in range(2):
            assert await whole(await transport.send(request(server.origin), until=soon())) == b"ok"
    assert server.connections == 1


async def test_a_folder_of_certificates_is_accepted(
    carrier: Carrier, serve: Serve, localhost: Certificate, tmp_path: Path
) -> None:
    openssl = shutil.which("openssl")
    assert openssl is not None
    name = subprocess.run(
        [openssl, "x509", "-noout", "-hash", "-in", localhost.file],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    shutil.copy(localhost.file, tmp_path / f"{name}.0")
    server = serve(answering(response(b"ok")), tls=localhost.server())
    async with carrier:
        transport = carrier.make(environ={"SSL_CERT_DIR": str(tmp_path)})
        assert await whole(await transport.send(request(server.origin), until=soon())) == b"ok"


async def test_an_unknown_certificate_is_told(carrier: Carrier, serve: Serve, localhost: Certificate) -> None:
    server = serve(answering(response(b"ok")), tls=localhost.server())
    async with carrier:
        with pytest.raises(TransportError, match=r"^certificate not trusted: self[- ]signed cert") as caught:
            await carrier.make().send(request(server.origin), until=soon())
    assert not caught.value.sent
    assert caught.value.hint is not None
    assert "SSL_CERT_FILE" in caught.value.hint
    assert server.seen == []


async def test_a_certificate_of_another_host_is_told(
    carrier: Carrier, serve: Serve, localhost: Certificate
) -> None:
    server = serve(answering(response(b"ok")), tls=localhost.server())
    other = replace(server.origin, host="127.0.0.1")
    async with carrier:
        with pytest.raises(TransportError, match=r"^certificate not trusted: .*127\.0\.0\.1") as caught:
            await carrier.make(environ=trusting(localhost)).send(request(other), until=soon())
    assert caught.value.hint is None


async def test_https_to_a_server_that_speaks_http_is_told(carrier: Carrier, serve: Serve) -> None:
    server = serve(answering(), of=Blunt)
    async with carrier:
        with pytest.raises(TransportError, match=r"^TLS handshake with 127\.0\.0\.1:\d+ failed: ") as caught:
            await carrier.make().send(request(replace(server.origin, scheme="https")), until=soon())
    assert not caught.value.sent
    assert caught.value.hint is not None
    assert "http://" in caught.value.hint


async def test_a_tls_handshake_that_hangs_ends_at_the_connect_timeout(carrier: Carrier, serve: Serve) -> None:
    server = serve(answering(), of=Mute)
    async with carrier:
        transport = carrier.make(connect_timeout=0.4)
        began = time.monotonic()
        with pytest.raises(TransportTimeout) as caught:
            await transport.send(request(replace(server.origin, scheme="https")), until=soon())
        assert time.monotonic() - began < 1.0
    assert (caught.value.connecting, caught.value.sent) == (True, False)


async def test_a_tls_body_that_drips_is_left_at_the_deadline(
    carrier: Carrier, serve: Serve, localhost: Certificate
) -> None:
    def act(peer: Peer, _: Seen) -> None:
        peer.drip(response(b"x" * 100))

    server = serve(act, tls=localhost.server())
    async with carrier:
        transport = carrier.make(environ=trusting(localhost))
        with pytest.raises(TransportError):  # certificates are read at the first request
            await transport.send(request(server.origin), until=time.monotonic() + 0.1)
        began = time.monotonic()
        with pytest.raises(TransportTimeout):
            await transport.send(request(server.origin), until=began + 0.5)
        assert time.monotonic() - began == pytest.approx(0.5, abs=0.1)


async def test_a_certificate_file_that_is_missing_is_a_configuration_error(
    carrier: Carrier, serve: Serve, localhost: Certificate, nothing: Path
) -> None:
    server = serve(answering(response(b"ok")), tls=localhost.server())
    async with carrier:
        with pytest.raises(ConfigurationError, match=r"SSL_CERT_FILE=.*nothing\.pem: cannot be read"):
            await carrier.make(environ={"SSL_CERT_FILE": str(nothing)}).send(
                request(server.origin), until=soon()
            )


async def test_plain_http_goes_through_the_proxy(carrier: Carrier, serve: Serve, proxied: Proxied) -> None:
    server, proxy = serve(answering(response(b"ok"))), proxied()
    async with carrier:
        transport = carrier.make(environ={"http_proxy": f"http://u%40x:p@127.0.0.1:{proxy.port}"})
        answer = await transport.send(request(server.origin, b"body", path="/a?b=%2F"), until=soon())
        assert await whole(answer) == b"ok"
    (through,) = proxy.seen
    assert (through.method, through.target) == ("POST", f"{server.origin}/a?b=%2F")
    assert through.header("proxy-authorization") == basic("u@x", "p")
    assert (server.seen[0].target, server.seen[0].body) == ("/a?b=%2F", b"body")


async def test_https_goes_through_a_tunnel(
    carrier: Carrier, serve: Serve, proxied: Proxied, localhost: Certificate
) -> None:
    """The proxy's credentials stay with the proxy, the request's own with the server."""
    server, proxy = serve(answering(response(b"ok")), tls=localhost.server()), proxied()
    async with carrier:
        environ = trusting(localhost, HTTPS_PROXY=f"http://user:pass@127.0.0.1:{proxy.port}")
        transport = carrier.make(environ=environ)
        for _ in range(2):
            sent = request(server.origin, authorization="Bearer k")
            assert await whole(await transport.send(sent, until=soon())) == b"ok"
    (tunnel,) = proxy.seen
    assert (tunnel.method, tunnel.target) == ("CONNECT", f"localhost:{server.port}")
    assert tunnel.header("proxy-authorization") == basic("user", "pass")
    assert tunnel.header("authorization") is None
    assert server.seen[0].header("proxy-authorization") is None
    assert server.seen[0].header("authorization") == "Bearer k"
    assert server.connections == 1


async def test_no_proxy_is_honoured(
    carrier: Carrier, serve: Serve, proxied: Proxied, localhost: Certificate
) -> None:
    server, proxy = serve(answering(response(b"ok")), tls=localhost.server()), proxied()
    async with carrier:
        environ = trusting(localhost, HTTPS_PROXY=proxy.url, NO_PROXY="example.org,localhost")
        await whole(await carrier.make(environ=environ).send(request(server.origin), until=soon()))
    assert proxy.seen == []


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"HTTP/1.1 403 Not allowed here\r\nContent-Length: 2\r\n\r\nno", "403 Not allowed here"),
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "407 Proxy Authentication Required"),
        (b"", ""),
        (b"220 mail.example.org ESMTP\r\n\r\n", ""),
    ],
    ids=["403", "407", "hangs up", "no proxy at all"],
)
async def test_a_proxy_that_refuses_is_told(
    carrier: Carrier, serve: Serve, proxied: Proxied, localhost: Certificate, answer: bytes, told: str
) -> None:
    """With the variable that named it, and without its password."""
    if carrier.kind == "httpx-async" and not told:
        pytest.skip("httpx does not tell the proxy's silence from the server's")
    server, proxy = serve(answering(response(b"ok")), tls=localhost.server()), proxied(answer)
    async with carrier:
        environ = trusting(localhost, HTTPS_PROXY=f"http://user:secret-1@127.0.0.1:{proxy.port}")
        transport = carrier.make(environ=environ, max_connections=2)
        for _ in range(5):  # more often than there are connections: none stays behind
            with pytest.raises(TransportError) as caught:
                await transport.send(request(server.origin), until=soon())
            assert not caught.value.sent
            assert str(caught.value).startswith(f"proxy {proxy.url} (from HTTPS_PROXY) refused: {told}")
            assert caught.value.hint == "check HTTPS_PROXY, or list the host in NO_PROXY"
            assert "secret-1" not in repr(caught.value)
    assert server.connections == 0


async def test_a_certificate_that_is_not_trusted_behind_a_proxy_leaves_nothing_behind(
    carrier: Carrier, serve: Serve, proxied: Proxied, localhost: Certificate
) -> None:
    server, proxy = serve(answering(response(b"ok")), tls=localhost.server()), proxied()
    if carrier.kind == "httpx-async":
        pytest.skip("httpcore keeps the place of a tunnel whose TLS failed")
    async with carrier:
        transport = carrier.make(environ={"HTTPS_PROXY": proxy.url}, max_connections=2)
        for _ in range(5):
            with pytest.raises(TransportError, match=r"^certificate not trusted: ") as caught:
                await transport.send(request(server.origin), until=soon())
            assert not isinstance(caught.value, TransportTimeout)


async def test_a_dead_proxy_is_told(carrier: Carrier, serve: Serve) -> None:
    server = serve(answering(response(b"ok")))
    async with carrier:
        with pytest.raises(TransportError) as caught:
            await carrier.make(environ={"ALL_PROXY": "127.0.0.1:1"}).send(
                request(server.origin), until=soon()
            )
    told = "cannot connect to the proxy http://127.0.0.1:1 (from ALL_PROXY): connection refused"
    assert str(caught.value) == told
    assert caught.value.hint == "check ALL_PROXY, or list the host in NO_PROXY"
    assert not caught.value.sent


async def test_a_proxy_without_an_address_is_told(carrier: Carrier, serve: Serve) -> None:
    server = serve(answering(response(b"ok")))
    async with carrier:
        with pytest.raises(TransportError, match=r"^cannot resolve nowhere\.invalid of the proxy") as caught:
            await carrier.make(environ={"ALL_PROXY": "http://nowhere.invalid:3128"}).send(
                request(server.origin), until=soon()
            )
    assert "(from ALL_PROXY)" in str(caught.value)


async def test_a_proxy_that_hangs_ends_at_the_connect_timeout(
    carrier: Carrier, serve: Serve, localhost: Certificate
) -> None:
    if carrier.kind == "httpx-async":
        pytest.skip("httpx has no timeout for the answer of a proxy; `until` ends it")
    server, proxy = serve(answering(), tls=localhost.server()), serve(answering(), of=Mute)
    async with carrier:
        transport = carrier.make(
            environ=trusting(localhost, HTTPS_PROXY=f"127.0.0.1:{proxy.port}"), connect_timeout=0.4
        )
        began = time.monotonic()
        with pytest.raises(TransportTimeout, match="through the proxy") as caught:
            await transport.send(request(server.origin), until=soon())
        assert time.monotonic() - began < 1.0
    assert (caught.value.connecting, caught.value.sent) == (True, False)


async def test_a_socks_proxy_is_used_where_the_package_for_it_is_there(
    carrier: Carrier, serve: Serve, localhost: Certificate
) -> None:
    if carrier.kind == "aiohttp":
        pytest.skip("it has no SOCKS; httpx is chosen then")
    server, proxy = serve(answering(response(b"ok")), tls=localhost.server()), SocksServer()
    environ = trusting(localhost, ALL_PROXY=f"socks5h://127.0.0.1:{proxy.port}")
    try:
        async with carrier:
            transport = carrier.make(environ=environ)
            if find_spec("socksio") is None:
                with pytest.raises(ConfigurationError, match=r'ALL_PROXY.*pip install "httpx\[socks\]"'):
                    await transport.send(request(server.origin), until=soon())
            else:
                assert await whole(await transport.send(request(server.origin), until=soon())) == b"ok"
                assert proxy.asked == ["localhost"]
    finally:
        proxy.stop()
