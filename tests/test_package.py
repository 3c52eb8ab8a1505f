"""The package as a whole: what importing costs, what is public, and that both clients are one surface."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

import pytest

import hybrid_infer
from both import Making
from hybrid_infer import AsyncClient, Client
from hybrid_infer import errors as error_tree
from hybrid_infer.calls.operations import OPERATIONS, Operation
from hybrid_infer.resources.base import AsyncResource, Resource

ROOT = Path(__file__).parent.parent
HEAVY = (
    "together",
    "modal",
    "aiohttp",
    "opentelemetry.sdk",
    "httpx",
    "httpcore",
    "pydantic",
    "asyncio",
    "ssl",
)


def python(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/"
    ).stdout.strip()


def test_importing_loads_none_of_what_a_call_needs() -> None:
    loaded = python("import hybrid_infer, sys; print(*sys.modules)").split()
    assert [name for name in HEAVY if name in loaded] == []


def test_a_client_loads_no_package_that_its_mode_does_not_need() -> None:
    loaded = python(
        "import hybrid_infer, sys; hybrid_infer.Client(api_key='k', model='m'); print(*sys.modules)"
    ).split()
    unneeded = (
        "together",
        "modal",
        "aiohttp",
        "opentelemetry.sdk",
        "httpx",
        "asyncio",
        "tenacity",
        "starlette",
    )
    assert [name for name in unneeded if name in loaded] == []


def test_importing_touches_neither_network_nor_foreign_files() -> None:
    code = """
import sys
seen = []
def audit(event, args):
    if event.startswith("socket.") or event == "subprocess.Popen":
        seen.append(event)
    if event == "open" and isinstance(args[0], str) and not args[0].endswith((".py", ".pyc")):
        seen.append(args[0])
sys.addaudithook(audit)
import hybrid_infer
print(seen)
"""
    assert python(code) == "[]"


def test_public_means_listed() -> None:
    listed = (ROOT / "tests" / "public_api.txt").read_text().split()
    assert sorted(hybrid_infer.__all__) == sorted(listed)
    for name in listed:
        assert getattr(hybrid_infer, name) is not None
    assert set(listed) <= set(dir(hybrid_infer))


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="Clint"):
        getattr(hybrid_infer, "Clint")  # noqa: B009 - as a misspelt import does it


def test_every_error_is_public_and_drawn_in_the_tree() -> None:
    kinds = [
        name
        for name, kind in vars(error_tree).items()
        if isinstance(kind, type) and issubclass(kind, error_tree.HybridInferError)
    ]
    drawing = error_tree.__doc__ or ""
    assert [name for name in kinds if name not in hybrid_infer.__all__] == []
    assert [name for name in kinds if not re.search(rf"\b{name}\b", drawing)] == []


def methods(kind: type) -> dict[str, inspect.Signature]:
    plain = {"__enter__": "enter", "__aenter__": "enter", "__exit__": "exit", "__aexit__": "exit"}
    return {
        plain.get(name, name): inspect.signature(value)
        for name, value in vars(kind).items()
        if callable(value) and (name in plain or not name.startswith("_"))
    }


def resources(held: Any) -> dict[str, Any]:
    """What hangs below a client or a resource, by the name of the property."""
    names = [
        name
        for name, value in inspect.getmembers(type(held))
        if isinstance(value, property | cached_property)
    ]
    found = {name: getattr(held, name) for name in names if not name.startswith("_")}
    return {name: value for name, value in found.items() if isinstance(value, Resource | AsyncResource)}


def surfaces() -> list[tuple[str, type, type]]:
    """Each class of the blocking surface with its place, and its counterpart of the other colour."""
    rows: list[tuple[str, type, type]] = []

    def walk(place: str, blocking: Any, awaited: Any) -> None:
        rows.append((place, type(blocking), type(awaited)))
        here, there = resources(blocking), resources(awaited)
        assert here.keys() == there.keys(), place
        for name in here:
            walk(f"{place}.{name}", here[name], there[name])

    walk("client", Client(simulate=True), AsyncClient(simulate=True))
    return rows


SURFACES = surfaces()


def test_no_operation_lacks_its_line_in_the_table() -> None:
    assert set(OPERATIONS) == set(get_args(Operation))


def test_everything_that_can_be_asked_for_hangs_below_a_client() -> None:
    called = {spec.called for spec in OPERATIONS.values()}
    there = {f"{place}.{name}" for place, kind, _ in SURFACES for name in methods(kind)}
    assert {f"client.{name}" for name in called} <= there


@pytest.mark.parametrize(
    ("blocking", "awaited"),
    [(blocking, awaited) for _, blocking, awaited in SURFACES],
    ids=[place for place, _, _ in SURFACES],
)
def test_both_clients_have_the_same_surface(blocking: type, awaited: type) -> None:
    one, other = methods(blocking), methods(awaited)
    assert one.keys() == other.keys()
    for name in one:
        assert list(one[name].parameters) == list(other[name].parameters), name
    here = inspect.signature(blocking)
    there = inspect.signature(awaited)
    assert list(here.parameters) == list(there.parameters)


async def test_the_client_describes_the_stack_it_was_built_with(make: Making) -> None:
    text = make(simulate=True, mode="modal").client.describe()
    order = re.findall(r"^  (\w+) ", text, re.M)
    assert order == [
        *("Plan", "Tracing", "Metering", "Deadline", "Resume", "Retry", "Hedge", "Route"),
        *("Allowed", "Breaker", "Cold", "StreamsOnly", "Attempts", "Exchange"),
    ]
    assert "mode       modal" in text
    assert "simulated" in text


def test_errors_survive_pickling() -> None:
    import pickle

    error = error_tree.RateLimitError("slow down", status=429, code="x", retry_after=2.0, where="modal (h)")
    copy = pickle.loads(pickle.dumps(error))
    assert str(copy) == str(error)
    assert (copy.retry_after, copy.retryable, copy.billed) == (2.0, True, False)
    problems = pickle.loads(pickle.dumps(error_tree.ConfigurationError(["a", "b"])))
    assert problems.problems == ("a", "b")
