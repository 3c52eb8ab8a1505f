"""Colours, clocks and clean environments for all tests."""

from __future__ import annotations

import asyncio
import inspect
import os
from collections.abc import Iterator
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

from hybrid_infer.runtime import virtual
from hybrid_infer.runtime.step import step
from hybrid_infer.testing import block_network

if TYPE_CHECKING:
    from both import Making

# How long an example takes is a matter of the machine, not a promise.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")

NOT_OURS = ("HYBRID_INFER_", "TOGETHER_", "MODAL_", "OPENAI_", "OTEL_")
HERE = ("127.0.0.1", "::1", "localhost", "nowhere.invalid")
"""What tests may reach; the last is a name that no server has (RFC 6761)."""
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No variable of the person who runs the tests reaches them, and no price list that they keep."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
    for name in list(os.environ):
        if name.startswith(NOT_OURS) or name.lower() in PROXIES or name.startswith("SSL_CERT_"):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def no_way_out(request: pytest.FixtureRequest) -> Iterator[None]:
    """No test reaches further than this machine, but for those that talk to a real provider."""
    with nullcontext() if request.node.get_closest_marker("live") else block_network(allow=HERE):
        yield


@pytest.fixture(params=["sync", "async"])
def colour(request: pytest.FixtureRequest) -> str:
    value: str = request.param
    return value


@pytest.fixture
def make(request: pytest.FixtureRequest, colour: str) -> Iterator[Making]:
    """Makes clients of the colour at hand, in virtual time unless the test is marked `real_time`."""
    from both import Making  # the tests of single rooms need none of what a client needs

    real_time = request.node.get_closest_marker("real_time") is not None
    making = Making(colour, real_time=real_time)
    yield making
    if colour == "sync" and not real_time:
        for api in making.apis:  # until the losers of races, which cannot be cancelled, have ended
            step(api.runtime.sleep(1e7))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What waits in real time can be held up by whatever else the machine does: it may try once more."""
    for item in items:
        if item.get_closest_marker("real_time") is not None:
            item.add_marker(pytest.mark.flaky(reruns=1))


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Runs test bodies that are coroutines: stepped for `[sync]`, in a loop for `[async]`."""
    function: Any = pyfuncitem.obj
    if not inspect.iscoroutinefunction(function):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    body = function(**{name: pyfuncitem.funcargs[name] for name in names})
    if pyfuncitem.funcargs.get("colour", "async") == "sync":
        step(body)
    elif pyfuncitem.get_closest_marker("real_time") is not None:
        asyncio.run(body)
    else:
        virtual.run(body)
    return True
