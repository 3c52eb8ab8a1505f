"""The examples run as they are, in every mode, and show what an application gets."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from hybrid_infer import MODES, AsyncClient
from hybrid_infer.cli.demo import load_example
from hybrid_infer.runtime import virtual

ASSISTANT = Path(__file__).parent.parent / "examples" / "meeting_assistant.py"


def minutes_of_all(**settings: Any) -> Sequence[Any]:
    """The minutes of the transcripts that come with the example, in virtual time."""
    example, path = load_example()
    assert path == ASSISTANT

    async def job() -> Sequence[Any]:
        async with AsyncClient(simulate=True, **settings) as client:
            return await example.run(client, example.TRANSCRIPTS)

    return virtual.run(job())


@pytest.mark.parametrize("mode", MODES)
def test_the_meeting_assistant_writes_minutes_in_every_mode(mode: Any) -> None:
    found = minutes_of_all(mode=mode)
    assert len(found) == len(list((ASSISTANT.parent / "transcripts").glob("*.txt")))
    for minutes in found:
        assert minutes.error is None
        assert minutes.title and not minutes.title.startswith("#")
        assert len(minutes.summary) > 200
        assert len(minutes.action_items) >= 3
        assert len(minutes.decisions) >= 1
        assert {call.mode for call in minutes.calls} == {mode}
        streamed = [call.time_to_first_token is not None for call in minutes.calls]
        assert streamed == [True, True, False]


def test_a_call_that_fails_leaves_what_was_answered_before_and_the_other_meetings() -> None:
    found = minutes_of_all(mode="modal", cold_start_timeout=0)
    assert all(minutes.error is not None and minutes.summary == "" for minutes in found)
    assert all(minutes.calls == [minutes.error.hybrid] for minutes in found)
    example: Any = load_example()[0]
    assert "not complete: modal (" in example.written(found[0])


@pytest.mark.parametrize("mode", MODES)
def test_the_meeting_assistant_runs_as_a_script(mode: str) -> None:
    done = subprocess.run(
        [sys.executable, str(ASSISTANT)],
        env={
            **os.environ,
            "PYTHONPATH": str(ASSISTANT.parent.parent / "src"),
            "HYBRID_INFER_SIMULATE": "1",
            "HYBRID_INFER_SIMULATE_SPEED": "40",
            "HYBRID_INFER_MODE": mode,
        },
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("Action items:") >= 3
    assert f"[3 calls to {mode}/" in done.stdout


def test_an_application_does_not_name_its_mode() -> None:
    tree = ast.parse(ASSISTANT.read_text())
    texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)} - {
        ast.get_docstring(tree, False)
    }
    assert not texts & set(MODES)
    assert not any(isinstance(node, ast.keyword) and node.arg == "mode" for node in ast.walk(tree))


def test_an_application_needs_the_public_names_only() -> None:
    imports = [
        node for node in ast.walk(ast.parse(ASSISTANT.read_text())) if isinstance(node, ast.ImportFrom)
    ]
    ours = [node.module for node in imports if node.module and node.module.startswith("hybrid_infer")]
    assert ours == ["hybrid_infer"]
