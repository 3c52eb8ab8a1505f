"""The pytest plugin. It does nothing until it is asked to, and loads nothing until then.

    @pytest.mark.usefixtures("network_blocked")        one test
    hybrid_infer_block_network = true                  the whole run, in the configuration file
    --hybrid-infer-block-network                       the whole run, on the command line

Its names are long, since other plugins have a `block_network` of their own.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from hybrid_infer.testing.network import NetworkBlock

_INI, _HOSTS = "hybrid_infer_block_network", "hybrid_infer_allow_hosts"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("hybrid_infer")
    group.addoption(
        "--hybrid-infer-block-network",
        action="store_true",
        default=False,
        help="No test may reach the network; see hybrid_infer.testing.block_network.",
    )
    group.addoption(
        "--hybrid-infer-allow-host",
        action="append",
        default=[],
        metavar="HOST",
        help="A host that tests may reach all the same, e.g. 127.0.0.1. May be given several times.",
    )
    parser.addini(_INI, "No test may reach the network.", type="bool", default=False)
    parser.addini(_HOSTS, "Hosts that tests may reach all the same.", type="args", default=[])


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "allow_network(*hosts): where the network is blocked for the whole run, this test may reach these "
        "hosts; without any, all of them",
    )


@pytest.fixture
def network_blocked(request: pytest.FixtureRequest) -> Iterator[NetworkBlock]:
    """No connection leaves the test; the hosts that the configuration allows may be reached."""
    from hybrid_infer.testing.network import block_network

    with block_network(allow=_hosts(request.config)) as block:
        yield block


@pytest.hookimpl(hookwrapper=True)  # the kind that pytest 7 knows, too
def pytest_collection(session: pytest.Session) -> Generator[None]:
    with _block(session.config):
        yield


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None]:
    """Around all of a test, its fixtures included."""
    mark = item.get_closest_marker("allow_network")
    everywhere = mark is not None and not mark.args
    with nullcontext() if everywhere else _block(item.config, *(mark.args if mark is not None else ())):
        yield


def _block(config: pytest.Config, *more: str) -> AbstractContextManager[object]:
    if not (config.getoption("--hybrid-infer-block-network") or config.getini(_INI)):
        return nullcontext()
    from hybrid_infer.testing.network import block_network

    return block_network(allow=(*_hosts(config), *more))


def _hosts(config: pytest.Config) -> list[str]:
    hosts: list[str] = [*config.getini(_HOSTS), *(config.getoption("--hybrid-infer-allow-host") or ())]
    return hosts
