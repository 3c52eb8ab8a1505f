"""What is read from the environment, without any socket."""

from __future__ import annotations

from pathlib import Path
from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]  # has no types

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_infer.errors import ConfigurationError
from hybrid_infer.transport.base import Origin
from hybrid_infer.transport.environment import Proxy, proxy_for, tls_context, uses_socks

HTTPS = Origin(scheme="https", host="api.x.ai", port=443)
HTTP = Origin(scheme="http", host="10.0.0.7", port=8000)


def test_there_is_no_proxy_where_none_is_named() -> None:
    assert proxy_for(HTTPS, {}) is None
    assert proxy_for(HTTPS, {"HTTP_PROXY": "http://p:1"}) is None
    assert proxy_for(HTTPS, {"HTTPS_PROXY": " "}) is None


@pytest.mark.parametrize(
    ("environ", "variable"),
    [
        ({"HTTPS_PROXY": "http://p:1"}, "HTTPS_PROXY"),
        ({"https_proxy": "http://p:1", "HTTPS_PROXY": "http://q:2"}, "https_proxy"),
        ({"ALL_PROXY": "http://p:1"}, "ALL_PROXY"),
        ({"all_proxy": "http://p:1", "ALL_PROXY": "http://q:2"}, "all_proxy"),
        ({"HTTPS_PROXY": "http://p:1", "all_proxy": "http://q:2"}, "HTTPS_PROXY"),
        ({"https_proxy": "", "HTTPS_PROXY": "http://q:2", "ALL_PROXY": "http://p:1"}, "ALL_PROXY"),
    ],
)
def test_the_first_variable_that_counts_names_the_proxy(environ: dict[str, str], variable: str) -> None:
    assert proxy_for(HTTPS, environ) == Proxy(scheme="http", host="p", port=1, variable=variable)


def test_an_empty_lower_case_variable_hides_the_upper_case_one() -> None:
    assert proxy_for(HTTPS, {"https_proxy": "", "HTTPS_PROXY": "http://q:2"}) is None


def test_a_cgi_script_does_not_believe_http_proxy() -> None:
    """A request sets HTTP_PROXY there, with its header `Proxy`."""
    assert proxy_for(HTTP, {"REQUEST_METHOD": "GET", "HTTP_PROXY": "http://evil:1"}) is None


def test_a_proxy_may_be_written_without_scheme_and_port() -> None:
    assert proxy_for(HTTP, {"HTTP_PROXY": "proxy.corp"}) == Proxy(
        scheme="http", host="proxy.corp", port=80, variable="HTTP_PROXY"
    )
    socks = proxy_for(HTTP, {"ALL_PROXY": "socks5h://[::1]"})
    assert socks is not None
    assert (socks.url, socks.is_socks) == ("socks5h://[::1]:1080", True)


def test_the_credentials_of_a_proxy_are_not_shown() -> None:
    proxy = proxy_for(HTTP, {"HTTP_PROXY": "http://us%40er:se%3Acret@p:1"})
    assert proxy is not None
    assert proxy.auth == ("us@er", "se:cret")
    assert proxy.authorization == "Basic dXNAZXI6c2U6Y3JldA=="
    assert "cret" not in f"{proxy} {proxy!r} {proxy.url}"


@pytest.mark.parametrize(
    "value", ["https://secret-1@p:1", "ftp://secret-1@p", "http://secret-1@", "http://secret-1@p:x"]
)
def test_what_is_no_usable_proxy_is_told_without_its_credentials(value: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^HTTPS_PROXY: ") as caught:
        proxy_for(HTTPS, {"HTTPS_PROXY": value})
    assert "secret-1" not in str(caught.value)


@pytest.mark.parametrize(
    ("names", "excluded"),
    [
        ("api.x.ai", True),
        ("x.ai", True),
        (".x.ai", True),
        ("API.X.AI:443", True),
        ("example.org, x.ai ", True),
        ("*", True),
        ("example.org,*", True),
        ("api.x.ai:8443", False),
        ("i.x.ai", False),
        ("ai.", False),
        ("", False),
        (" , ", False),
    ],
)
def test_no_proxy_lists_hosts(names: str, excluded: bool) -> None:
    proxy = proxy_for(HTTPS, {"HTTPS_PROXY": "http://p:1", "NO_PROXY": names})
    assert (proxy is None) == excluded


def test_no_proxy_knows_addresses_of_ipv6() -> None:
    origin = Origin(scheme="http", host="::1", port=8000)
    for names in ("::1", "[::1]", "[::1]:8000"):
        assert proxy_for(origin, {"HTTP_PROXY": "p:1", "no_proxy": names}) is None


_names = st.lists(st.sampled_from(["a", "b", "ai", "x", ".", "-", "443", ":"]), max_size=5).map("".join)


@given(hosts=st.lists(_names, max_size=3), host=_names)
def test_no_proxy_means_what_it_means_to_python(hosts: list[str], host: str) -> None:
    """`urllib.request` and `requests` read it so, and other programs of the user with them."""
    host = host.replace(":", "").strip(".") or "h"
    names = ",".join(hosts)
    proxy = proxy_for(
        Origin(scheme="https", host=host, port=443), {"HTTPS_PROXY": "http://p:1", "NO_PROXY": names}
    )
    assert (proxy is None) == bool(proxy_bypass_environment(f"{host}:443", {"no": names}))


def test_socks_is_seen_in_any_variable() -> None:
    assert uses_socks({"all_proxy": "SOCKS5://p"})
    assert uses_socks({"HTTP_PROXY": "socks5h://p", "HTTPS_PROXY": "http://p"})
    assert not uses_socks({"HTTPS_PROXY": "http://socks5"})


def test_certificates_are_read_once() -> None:
    assert tls_context({}) is tls_context({"SSL_CERT_FILE": ""})


def test_a_file_without_certificates_is_told(tmp_path: Path) -> None:
    file = tmp_path / "empty.pem"
    file.write_text("no certificate")
    with pytest.raises(ConfigurationError, match=r"^SSL_CERT_FILE=.*empty\.pem: holds no certificate"):
        tls_context({"SSL_CERT_FILE": str(file)})


def test_a_folder_that_is_missing_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"^SSL_CERT_DIR=.*: no such folder"):
        tls_context({"SSL_CERT_DIR": f"{tmp_path}:{tmp_path / 'missing'}"})
