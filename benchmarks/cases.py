"""What is measured, how often, and what is to be reached."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

OURS = "hybrid-infer"
PEERS = (
    OURS,
    "httpx",
    "aiohttp",
    "together",
    "openai",
    "litellm",
    "liter-llm",
    "any-llm",
    "pydantic-ai",
    "huggingface-hub",
)
BARE = ("httpx", "aiohttp")


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """How much of a case is done: in each round, and how many rounds."""

    times: int
    rounds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One thing that is measured of each client.

    Attributes:
        figure: the figure by which clients are compared.
        does: what the driver runs; None where each run is an interpreter of its own.
        peers: who takes part; all if None.
        fresh: each run is made by a driver that has done nothing else.
    """

    name: str
    text: str
    full: Amount
    quick: Amount
    does: str | None
    figure: str = "wall_us"
    given: dict[str, Any] = field(default_factory=dict)
    peers: tuple[str, ...] | None = None
    fresh: bool = False


def _flying(number: int, full: int, quick: int) -> Case:
    return Case(
        name=f"tasks-{number}",
        text=f"async, {number:,} in flight: {'calls a second' if number > 1 else 'median of a call'}",
        full=Amount(times=full, rounds=7 if number < 1024 else 5),
        quick=Amount(times=quick, rounds=3 if number < 256 else 2),
        does="tasks",
        figure="rate" if number > 1 else "wall_us",
        given={"flying": number},
    )


CASES = (
    Case(
        name="import",
        text="import, in a new interpreter",
        full=Amount(times=1, rounds=15),
        quick=Amount(times=1, rounds=2),
        does=None,
    ),
    Case(
        name="first-call",
        text="import, client and first call, in a new interpreter",
        full=Amount(times=1, rounds=15),
        quick=Amount(times=1, rounds=2),
        does=None,
    ),
    Case(
        name="unary",
        text="blocking, one call after the other: median of a call",
        full=Amount(times=300, rounds=15),
        quick=Amount(times=60, rounds=5),
        does="unary",
    ),
    _flying(1, 300, 60),
    _flying(32, 1600, 320),
    _flying(256, 3840, 768),
    _flying(1024, 6144, 1536),
    Case(
        name="stream",
        text="a stream of 500 chunks: CPU of a chunk",
        full=Amount(times=8, rounds=9),
        quick=Amount(times=2, rounds=3),
        does="stream",
        figure="cpu_us",
    ),
    Case(
        name="embeddings",
        text="256 vectors of 1,024 floats: a call",
        full=Amount(times=5, rounds=7),
        quick=Amount(times=1, rounds=3),
        does="embeddings",
    ),
    Case(
        name="cache-hit",
        text="an answer from the client's own cache in memory",
        full=Amount(times=1000, rounds=9),
        quick=Amount(times=200, rounds=3),
        does="hit",
        peers=(OURS,),
    ),
    Case(
        name="threads-64",
        text="blocking, 64 threads on one client: calls a second",
        full=Amount(times=2560, rounds=7),
        quick=Amount(times=512, rounds=3),
        does="threads",
        figure="rate",
        given={"threads": 64},
    ),
    Case(
        name="open-calls",
        text="memory of 1,000 calls that wait for their answer",
        full=Amount(times=1000, rounds=3),
        quick=Amount(times=500, rounds=1),
        does="open",
        figure="memory_mb",
        fresh=True,
    ),
    Case(
        name="growth",
        text="memory after all calls, less that after the first 2,000",
        full=Amount(times=200_000, rounds=1),
        quick=Amount(times=6_000, rounds=1),
        does="growth",
        figure="growth_mb",
        given={"few": 2_000},
        peers=(OURS,),
        fresh=True,
    ),
)

LADDER = (Amount(times=25, rounds=401), Amount(times=25, rounds=41))
"""In full, and quick."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """Something to have more of, and what a call costs then."""

    name: str
    text: str
    sizes: tuple[int, ...]
    quick_sizes: tuple[int, ...]
    full: Amount = Amount(times=64, rounds=101)
    quick: Amount = Amount(times=64, rounds=15)


SCALES = (
    Scale(
        name="flying", text="calls in flight", sizes=(1, 10, 100, 1000, 4000), quick_sizes=(1, 10, 100, 1000)
    ),
    Scale(
        name="targets",
        text="targets",
        sizes=(1, 4, 16, 64, 256),
        quick_sizes=(1, 4, 16, 64),
    ),
    Scale(
        name="ledger",
        text="calls in the ledger",
        sizes=(1, 100, 1_000, 10_000, 100_000),
        quick_sizes=(1, 30, 300, 3_000),
        full=Amount(times=500, rounds=15),
        quick=Amount(times=300, rounds=3),
    ),
    Scale(
        name="cache",
        text="answers in the cache",
        sizes=(1, 100, 1_000, 10_000, 100_000),
        quick_sizes=(1, 100, 1_000, 10_000),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """A figure of ours, over one of somebody else's (or alone), and what it is to be.

    Attributes:
        ours: case and figure; case ``ladder`` holds the whole stack without I/O.
        against: client, case and figure; None where the figure itself is to be held.
        most, least: what it is to be at most, or at least.
        earlier: what a prototype of the design reached.
    """

    text: str
    ours: tuple[str, str]
    against: tuple[str, str, str] | None = None
    most: float | None = None
    least: float | None = None
    unit: str = ""
    earlier: str = ""


def _against(peer: str, case: str, figure: str) -> dict[str, Any]:
    return {"ours": (case, figure), "against": (peer, case, figure)}


GOALS = (
    Goal(text="all layers without I/O, a call", ours=("ladder", "all"), most=40, unit=" µs", earlier="24 µs"),
    Goal(
        text="blocking call / httpx", **_against("httpx", "unary", "wall_us"), most=0.85, earlier="0.70-0.73"
    ),
    Goal(
        text="blocking call / together",
        **_against("together", "unary", "wall_us"),
        most=0.38,
        earlier="0.30-0.33",
    ),
    Goal(text="blocking call / litellm", **_against("litellm", "unary", "wall_us"), most=0.13),
    Goal(
        text="256 in flight, calls/s / httpx",
        **_against("httpx", "tasks-256", "rate"),
        least=9,
        earlier="9.9-12.8",
    ),
    Goal(
        text="256 in flight, calls/s / together",
        **_against("together", "tasks-256", "rate"),
        least=9,
        earlier="11",
    ),
    Goal(
        text="256 in flight, calls/s / aiohttp",
        **_against("aiohttp", "tasks-256", "rate"),
        least=0.55,
        earlier="0.62-0.72",
    ),
    Goal(
        text="async call / liter-llm",
        **_against("liter-llm", "tasks-1", "wall_us"),
        most=1.30,
        earlier="0.91-1.28",
    ),
    Goal(
        text="async call / aiohttp",
        **_against("aiohttp", "tasks-1", "wall_us"),
        most=1.40,
        earlier="1.25-1.5",
    ),
    Goal(
        text="stream, CPU of a chunk / httpx",
        **_against("httpx", "stream", "cpu_us"),
        most=1.8,
        earlier="1.2-1.7",
    ),
    Goal(
        text="stream, CPU of a chunk / together",
        **_against("together", "stream", "cpu_us"),
        most=0.11,
        earlier="0.09",
    ),
    Goal(text="import / httpx", **_against("httpx", "import", "wall_us"), most=0.25),
    Goal(
        text="import and first call / together",
        **_against("together", "first-call", "wall_us"),
        most=0.50,
        earlier="0.39-0.43",
    ),
    Goal(text="memory of many calls, over few", ours=("growth", "growth_mb"), most=2, unit=" MB"),
    Goal(
        text="embeddings / json.loads of the body",
        ours=("embeddings", "wall_us"),
        against=(OURS, "embeddings", "loads_us"),
        most=1.5,
    ),
    Goal(
        text="cache hit / blocking call of httpx",
        ours=("cache-hit", "wall_us"),
        against=("httpx", "unary", "wall_us"),
        most=0.15,
    ),
)
