"""What the documentation shows runs, and what it links to is there.

Every Python block of README.md and docs/*.md runs by itself, in a folder with nothing but the files of its
page (blocks with a title). Providers are simulated, unless a comment before the block says otherwise:

    <!-- run: plain -->    no simulator: the block brings its own provider
    <!-- run: served -->   against `hybrid-infer simulate`, over real sockets

A block with `# not run` in it does not run.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

import pytest

import hybrid_infer
from hybrid_infer.errors import HybridInferError
from hybrid_infer.simulator.server import SimulatorServer, exports
from hybrid_infer.simulator.world import World

ROOT = Path(__file__).parent.parent
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))

FENCE = re.compile(
    r"(?:^[ ]*<!-- run: (?P<how>\w+) -->\n)?"
    r"^(?P<indent>[ ]*)```(?P<language>\w+)(?: title=\"(?P<title>[^\"]+)\")?\n(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
LINK = re.compile(r"\]\((?!\w+:)([^)#\s]*)(?:#[^)\s]*)?\)")
SPEED = 1000
SERVED_SPEED = 10
"""Less, because the client asks once a real second whether a container is up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    page: Path
    line: int
    language: str
    text: str
    title: str | None
    how: str

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks_of(page: Path) -> Iterator[Block]:
    content = page.read_text("utf-8")
    for found in FENCE.finditer(content):
        yield Block(
            page=page,
            line=content.count("\n", 0, found.start("text")) + 1,
            language=found["language"],
            text=dedent(found["text"]),
            title=found["title"],
            how=found["how"] or "simulated",
        )


BLOCKS = [block for page in PAGES for block in blocks_of(page)]
RUN = [block for block in BLOCKS if block.language == "python" and "# not run" not in block.text]


@pytest.fixture(scope="module")
def served() -> Iterator[dict[str, str]]:
    """The variables of a simulator behind a real address."""
    server = SimulatorServer(World(), speed=SERVED_SPEED)
    thread = threading.Thread(target=server.run)
    thread.start()
    yield exports(server.port)
    server.stop()
    thread.join()


@pytest.fixture
def own_logging() -> Iterator[None]:
    """What a block sets about logging is over with it."""
    loggers = (logging.getLogger(), logging.getLogger("hybrid_infer"))
    before = [(logger.level, logger.handlers[:]) for logger in loggers]
    yield
    for logger, (level, handlers) in zip(loggers, before, strict=True):
        logger.setLevel(level)
        logger.handlers[:] = handlers


@pytest.mark.real_time
@pytest.mark.usefixtures("own_logging")
@pytest.mark.parametrize("block", RUN, ids=str)
def test_a_python_block_runs(
    block: Block, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As somebody would who copies it."""
    for other in BLOCKS:
        if other.page == block.page and other.title is not None:
            (tmp_path / other.title).write_text(other.text, "utf-8")
    monkeypatch.chdir(tmp_path)
    variables: dict[str, str] = {}
    if block.how == "simulated":
        variables = {"HYBRID_INFER_SIMULATE": "1", "HYBRID_INFER_SIMULATE_SPEED": str(SPEED)}
    elif block.how == "served":
        variables = request.getfixturevalue("served")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    code = "\n" * (block.line - 1) + block.text  # so that a traceback shows the line of the page
    exec(compile(code, block.page, "exec", dont_inherit=True), {"__name__": "__main__"})


def test_there_are_blocks_and_their_comments_are_known() -> None:
    assert len(RUN) > 20
    assert {block.how for block in BLOCKS} == {"simulated", "plain", "served"}
    written = sum(page.read_text("utf-8").count("<!-- run:") for page in PAGES)
    assert written == sum(block.how != "simulated" for block in BLOCKS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_lead_to_files(page: Path) -> None:
    links = [link for link in LINK.findall(page.read_text("utf-8")) if link]
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_page_of_the_design_shows_what_is_built() -> None:
    shown = [block.text for block in BLOCKS if block.page.name == "design.md" and block.language == "text"]
    with hybrid_infer.Client(simulate=True) as client:
        assert shown == [f"{client.describe()}\n"]


def test_the_page_of_errors_names_them_all() -> None:
    public = (getattr(hybrid_infer, name) for name in hybrid_infer.__all__)
    kinds = [kind for kind in public if isinstance(kind, type) and issubclass(kind, HybridInferError)]
    page = (ROOT / "docs" / "errors.md").read_text("utf-8")
    assert [kind for kind in kinds if f"`{kind.__name__}`" not in page] == []
