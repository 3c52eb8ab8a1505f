"""The address of a Redis, which may hold a password, and the package that speaks to it."""

from __future__ import annotations

import logging
import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import aclosing
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hybrid_infer.errors import ConfigurationError
from stores.conftest import Sharing
from stores.redis_server import RedisServer
from stores.test_redis_limits import ask, take

pytestmark = pytest.mark.real_time

BEGIN, END = "Zu4", "q9K"  # of every password here


@pytest.fixture
def locked_server() -> Iterator[RedisServer]:
    server = RedisServer(password=f"{BEGIN}/@:?#{END}")
    yield server
    server.remove()


async def test_a_password_opens_and_shows_nowhere(
    colour: str, locked_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    path = locked_server.path
    right = quote(f"{BEGIN}/@:?#{END}", safe="")
    async with aclosing(Sharing(colour, f"unix://:{right}@{path}")()) as limits:
        await take(limits, slots=1)
        seen = repr(limits)
    async with aclosing(Sharing(colour, f"unix://:{BEGIN}wrong{END}@{path}")()) as limits:
        assert await ask(limits, slots=1) is None
        seen += repr(limits)
    assert "does not accept the user or the password" in caplog.text
    assert BEGIN not in seen + caplog.text
    assert END not in seen + caplog.text


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    middle=st.text(st.sampled_from("/@:?#[]%=&;,\\ \"'1a\n"), max_size=6),
    scheme=st.sampled_from(["redis", "rediss", "unix", "http", ""]),
)
@pytest.mark.parametrize("colour", ["sync"])
def test_no_part_of_any_password_written_in_any_way_is_shown(
    colour: str, caplog: pytest.LogCaptureFixture, middle: str, scheme: str
) -> None:
    url = f"{scheme}://user:{BEGIN}{middle}{END}@127.0.0.1:1/0"
    try:
        limits = Sharing(colour, url)()
    except ConfigurationError as error:
        seen = "".join(traceback.format_exception(error)) + repr(error) + repr(error.__context__)
        assert "redis_url" in seen
    else:
        seen = repr(limits)
    assert BEGIN not in seen
    assert END not in seen


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:6379",
        "http://127.0.0.1",
        "redis://127.0.0.1:port",
        "redis://:pass/word@127.0.0.1",
        "redis://:pass#word@127.0.0.1",
        "redis://user:12?34@127.0.0.1",
        "unix://:pass/word@/run/redis.sock",
        "redis://127.0.0.1?unheard_of=1",
        "redis://127.0.0.1?socket_timeout=soon",
    ],
)
async def test_a_wrong_address_is_said_before_the_first_call(colour: str, url: str) -> None:
    with pytest.raises(ConfigurationError, match="redis_url: not the address of a Redis"):
        Sharing(colour, url)()


async def test_addresses_over_tcp_and_tls_are_shown_without_credentials(colour: str) -> None:
    for url, place in [
        ("redis://user:secret@example.com:7000/3", "example.com:7000/3"),
        ("rediss://:secret@example.com", "example.com:6379/0"),
        ("redis://", "localhost:6379/0"),
        ("unix:///run/redis.sock?db=2&password=secret", "/run/redis.sock (db 2)"),
    ]:
        async with aclosing(Sharing(colour, url)()) as limits:
            assert repr(limits) == f"<RedisLimits {place}>"


async def test_a_missing_package_is_named_with_what_brings_it(
    colour: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("redis_blocking", "redis_tasks"):
        monkeypatch.delitem(sys.modules, f"hybrid_infer.stores.{module}", raising=False)
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(ConfigurationError, match=r'pip install "hybrid-infer\[redis\]"'):
        Sharing(colour, "redis://127.0.0.1")()


def test_redis_is_not_loaded_before_it_is_used() -> None:
    code = "import hybrid_infer.stores.redis_limits, sys; print('redis' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
