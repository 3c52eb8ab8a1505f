"""The examples run as they are, in every mode they can, and show what an application gets."""

from __future__ import annotations

import ast
import asyncio
import os
import re
import runpy
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from example_files import FOLDER, loaded
from hybrid_infer import MODES, Settings
from hybrid_infer.calls.call import Mode
from hybrid_infer.calls.operations import OPERATIONS
from hybrid_infer.cli.demo import load_example
from hybrid_infer.testing import Fault, Simulation

ROOT = Path(__file__).parent.parent
SCRIPTS = sorted(FOLDER.glob("*.py"))
ANYWHERE = [path for path in SCRIPTS if path.stem != "object_detection"]
"""Functions are Modal's alone; all others run wherever they are sent."""
PNG = b"\x89PNG\r\n\x1a\n"


def minutes_of_all(simulation: Simulation | None = None, **settings: Any) -> Sequence[Any]:
    """The minutes of the transcripts that come with the example, in virtual time."""
    example, path = load_example()
    assert path == FOLDER / "meeting_assistant.py"
    simulation = simulation or Simulation()

    async def job() -> Sequence[Any]:
        async with simulation.async_client(**settings) as client:
            return await example.run(client, example.TRANSCRIPTS)

    return simulation.run(job())


@pytest.mark.parametrize("mode", MODES)
def test_the_meeting_assistant_writes_minutes_in_every_mode(mode: Mode) -> None:
    found = minutes_of_all(mode=mode)
    transcripts = sorted((FOLDER / "transcripts").glob("*.txt"))
    assert [minutes.transcript for minutes in found] == [
        path.read_text("utf-8").strip() for path in transcripts
    ]
    for minutes in found:
        assert minutes.error is None
        assert minutes.title[0].isupper()
        assert len(minutes.summary) > 200
        assert len(minutes.action_items) >= 3
        assert all(item.owner and item.task in minutes.transcript for item in minutes.action_items)
        assert any(item.due for item in minutes.action_items)
        assert list(minutes.steps) == ["transcribe", "summarise", "action items"]
        assert {call.mode for call in minutes.calls} == {mode}
        streamed = [call.time_to_first_token is not None for call in minutes.calls]
        assert streamed == [False, True, False]


@pytest.mark.parametrize("mode", MODES)
def test_the_steps_of_the_meeting_assistant_add_up_to_what_all_cost(mode: Mode) -> None:
    example: Any = load_example()[0]
    *steps, whole = example.total(minutes_of_all(mode=mode)).splitlines()
    assert [step.partition(":")[0] for step in steps] == ["transcribe", "summarise", "action items"]
    if mode == "openai-compatible":
        assert all("cost unknown" in line for line in (*steps, whole))
        return
    parts = [float(step.rpartition("$")[2]) for step in steps]
    assert all(part > 0 for part in parts)
    assert float(whole.rpartition("$")[2]) == pytest.approx(sum(parts), abs=3e-6)
    assert whole.startswith(f"total of {3 * len(list((FOLDER / 'transcripts').glob('*.txt')))} calls")


def test_a_call_that_fails_leaves_what_was_answered_before_and_the_other_meetings() -> None:
    example: Any = load_example()[0]
    cold = minutes_of_all(mode="modal", cold_start_timeout=0)
    assert all(minutes.error is not None and minutes.transcript == "" for minutes in cold)
    assert all(minutes.calls == [minutes.error.hybrid] for minutes in cold)
    assert "not complete: modal (" in example.written(cold[0])

    broken = Fault("status", status=400).when(model="Qwen/Qwen3.5-9B", on=1)
    found = minutes_of_all(Simulation(faults=broken))
    failed = [minutes for minutes in found if minutes.error is not None]
    assert len(failed) == 1 and len(failed[0].transcript) > 1000
    assert all(len(minutes.action_items) >= 3 for minutes in found if minutes.error is None)


@pytest.mark.parametrize("mode", MODES)
def test_the_support_bot_answers_from_the_articles_that_fit(
    mode: Mode, capsys: pytest.CaptureFixture[str]
) -> None:
    example = loaded("support_bot")
    with Simulation().client(mode=mode, cache="memory") as client:
        bot = example.Bot(client, session="s")
        found = [bot.best(question, bot.nearest(question))[0] for question in example.QUESTIONS]
        bot.calls.clear()
        answers = [bot.answer(question) for question in example.QUESTIONS]
    assert [article.partition(":")[0] for article in found] == ["Returns", "Refunds", "Lost parcels"]
    assert [turn["role"] for turn in bot.turns] == ["user", "assistant"] * len(answers)
    assert {hybrid.mode for _, hybrid in bot.calls} == {mode}
    shown = capsys.readouterr().out
    assert all(answer in shown for answer in answers)
    reranks = mode in OPERATIONS["rerank"].modes
    assert bot.reranks is reranks
    assert shown.count("no reranking") == (not reranks)
    assert any(kind == "rerank" for kind, _ in bot.calls) is reranks
    of_articles = [hybrid for kind, hybrid in bot.calls if kind == "embed articles"]
    assert [hybrid.cache for hybrid in of_articles] == ["hit"] * len(answers)
    assert sum(hybrid.cost.amount for hybrid in of_articles) == 0
    assert re.search(r"answer: 3 calls, 0 from the cache, (\$0\.0|cost unknown)", example.bill(bot.calls))


def pictures_asked_for(
    wishes: Sequence[Any], *, at_once: bool = False, faults: Any = None, **settings: Any
) -> list[Any]:
    """What the image API answers, without a server and in virtual time."""
    example = loaded("image_api")
    simulation = Simulation(faults=faults)

    async def job() -> list[Any]:
        transport = httpx.ASGITransport(example.app)
        async with (
            simulation.async_client(cache="memory", **settings) as example.app.state.client,
            httpx.AsyncClient(transport=transport, base_url="http://images") as browser,
        ):
            asked = [browser.post("/images", json=wish) for wish in wishes]
            return list(await asyncio.gather(*asked)) if at_once else [await one for one in asked]

    return simulation.run(job())


@pytest.mark.parametrize("mode", MODES)
def test_the_image_api_draws_nothing_twice(mode: Mode) -> None:
    wish = {"prompt": "a lighthouse", "seed": 7, "width": 64, "height": 64}
    wishes = [wish, wish, {**wish, "seed": 8}]
    one, again, other = (answer.json() for answer in pictures_asked_for(wishes, mode=mode))
    example = sys.modules["image_api"]
    assert example.b64decode(one["b64_json"]).startswith(PNG)
    assert (one["cache"], again["cache"], other["cache"]) == ("miss", "hit", "miss")
    assert one["b64_json"] == again["b64_json"] != other["b64_json"]
    assert (again["cost_usd"], one["cost_usd"] is None) == (0.0, mode == "openai-compatible")
    assert one["target"].startswith(f"{mode}/")


def test_whoever_asks_the_image_api_for_a_picture_that_is_being_drawn_shares_it() -> None:
    answers = pictures_asked_for([{"prompt": "a lighthouse"}] * 3, at_once=True)
    assert sorted(answer.json()["cache"] for answer in answers) == ["miss", "shared", "shared"]


@pytest.mark.parametrize(
    ("status", "told", "again"), [(503, 503, True), (400, 422, False), (401, 502, False)]
)
def test_the_image_api_tells_a_provider_that_is_down_from_a_request_that_will_never_do(
    status: int, told: int, again: bool
) -> None:
    answer = pictures_asked_for([{"prompt": "a lighthouse"}], faults=Fault("status", status=status))[0]
    assert answer.status_code == told
    assert ("retry-after" in answer.headers) is again
    assert answer.json()["detail"]


def test_the_image_api_refuses_a_wish_without_asking_a_provider() -> None:
    assert [
        answer.status_code for answer in pictures_asked_for([{"prompt": ""}, {"prompt": "a", "width": 7}])
    ] == [
        422,
        422,
    ]


def typed(simulation: Simulation, **settings: Any) -> Any:
    """The report of the code completion, in virtual time."""
    example = loaded("code_completion")

    async def job() -> Any:
        async with simulation.async_client(**settings) as client:
            return await example.run(client)

    return simulation.run(job())


@pytest.mark.parametrize("mode", MODES)
def test_a_key_makes_the_suggestion_before_it_outdated_and_stops_it(mode: Mode) -> None:
    simulation = Simulation()
    report = typed(simulation, mode=mode)
    assert report.shown and report.outdated
    assert report.asked == len(report.shown) + len(report.outdated)
    assert simulation.seen().cancelled == len(report.outdated)
    assert simulation.seen().open == 0
    assert all(0 < one.time_to_first_token <= one.latency < 1.5 for one in report.shown)
    assert f"{report.asked} asked, {len(report.shown)} shown" in str(report)
    assert "first token: " in str(report) and "cost: " in str(report)


def test_a_suggestion_that_comes_too_late_is_dropped() -> None:
    slow = Fault("slow_first_token", seconds=30).when(since=1.0)
    report = typed(Simulation(faults=slow))
    assert report.late >= 1 and not report.failed


def test_a_gap_is_asked_for_by_the_marks_of_the_model_or_by_suffix(monkeypatch: pytest.MonkeyPatch) -> None:
    example = loaded("code_completion")
    assert example.gap("a", "b") == {"prompt": "<|fim_prefix|>a<|fim_suffix|>b<|fim_middle|>"}
    monkeypatch.setattr(example, "MARKS", None)
    assert example.gap("a", "b") == {"prompt": "a", "suffix": "b"}


def test_the_detector_answers_one_many_and_later_alike(capsys: pytest.CaptureFixture[str]) -> None:
    example = loaded("object_detection")
    pictures = sorted((FOLDER / "pictures").glob("*.png"))
    assert len(pictures) >= 3 and all(path.read_bytes().startswith(PNG) for path in pictures)
    with Simulation().client(mode="modal") as client:
        one = example.detect(client, pictures[0])
        every = example.detect_all(client, pictures)
        later = example.fetch(client, pictures[0], example.hand_over(client, pictures[0]))
    assert list(every) == pictures
    assert every[pictures[0]] == later == [found for found in later if found.score >= 0.5]
    assert one == [found for found in later if found.score >= 0.6]
    left, top, right, bottom = one[0].box
    assert 0 <= left < right <= 1.5 and 0 <= top < bottom <= 1.5
    assert capsys.readouterr().out.count("[modal/detector/") == 2 + len(pictures)


def test_a_picture_that_fails_leaves_the_others_alone() -> None:
    example = loaded("object_detection")
    example.LOADED = "faults/raises"
    with Simulation().client(mode="modal") as client:
        found = example.detect_all(client, sorted((FOLDER / "pictures").glob("*.png")))
    assert [type(one).__name__ for one in found.values()] == ["RemoteFunctionError"] * 3
    with pytest.raises(ValueError, match="boxes"):
        example.checked({"found": []})


def modes_of(script: Path) -> Sequence[str]:
    return MODES if script in ANYWHERE else ["modal"]


LAST: dict[str, Callable[[str], str]] = {
    "meeting_assistant": lambda mode: r"total of 12 calls: (\$0\.\d{6}|cost unknown: .+)$",
    "support_bot": lambda mode: r"answer: 3 calls, 0 from the cache, (\$0\.\d{8}|cost unknown: .+)$",
    "image_api": lambda mode: rf"\d+ bytes of {mode}/.+ s, \$0.000000, cache: hit$",
    "code_completion": lambda mode: r"cost: (\$0\.\d{8} of \d+ requests|unknown of \d+)",
    "object_detection": lambda mode: r"room\.png: .+ \[modal/detector/Detector\.detect, .+\]$",
}
"""How the last line of each script looks."""


def simulated(mode: str) -> dict[str, str]:
    """Fast; but a container must still be up when a client asks for it, which it does once a real second."""
    speed = "40" if mode == "modal" else "400"
    return {
        "HYBRID_INFER_SIMULATE": "1",
        "HYBRID_INFER_SIMULATE_SPEED": speed,
        "HYBRID_INFER_MODE": mode,
    }


RUNS = [
    pytest.param(script, mode, id=f"{script.stem}-{mode}") for script in SCRIPTS for mode in modes_of(script)
]


@pytest.mark.real_time
@pytest.mark.parametrize(("script", "mode"), RUNS)
def test_an_example_runs_to_its_end_in_every_mode_it_can(
    script: Path, mode: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in simulated(mode).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", [str(script)])
    runpy.run_path(str(script), run_name="__main__")
    shown, wrong = capsys.readouterr()
    assert re.match(LAST[script.stem](mode), shown.splitlines()[-1]), shown
    assert wrong == ""


@pytest.mark.real_time
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_an_example_runs_as_a_script(script: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script)],
        env={**os.environ, **simulated("modal"), "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert re.match(LAST[script.stem]("modal"), done.stdout.splitlines()[-1]), done.stdout


@pytest.mark.parametrize("script", ANYWHERE, ids=lambda script: script.stem)
def test_an_application_does_not_name_its_mode(script: Path) -> None:
    tree = ast.parse(script.read_text("utf-8"))
    texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)} - {
        ast.get_docstring(tree, False)
    }
    assert not texts & set(MODES)
    assert not any(isinstance(node, ast.keyword) and node.arg == "mode" for node in ast.walk(tree))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_an_application_needs_the_public_names_only(script: Path) -> None:
    tree = ast.parse(script.read_text("utf-8"))
    imports = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]
    assert [name for name in imports if name.startswith("hybrid_infer")] == ["hybrid_infer"]
    assert f"python {script.name}" in (ast.get_docstring(tree) or "")


MODELS = ("TRANSCRIBER", "EMBEDDER", "RERANKER", "PAINTER", "DETECT", "LOADED")
"""The constants of the examples that name models and functions."""


def test_the_models_that_the_examples_ask_for_are_in_the_file_beside_them() -> None:
    file = Settings.load(config=FOLDER / "models.toml")
    examples = [loaded(script.stem) for script in SCRIPTS]
    asked = {getattr(example, name) for example in examples for name in MODELS if hasattr(example, name)}
    assert {file.model, *asked} == set(file.models)
    assert len(asked) == len(MODELS)
