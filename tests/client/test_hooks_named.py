"""Hooks that settings name are imported when a client is made, and what is wrong with them is told then."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from both import Making
from hybrid_infer import ConfigurationError
from hybrid_infer.hooks import HOOKS

MODULE = """
HEARD = []
NUMBER = 3

def first(event):
    HEARD.append(("first", event.name, event.mode))

def second(event):
    HEARD.append(("second", event.name, event.mode))

class Group:
    @staticmethod
    def third(event):
        HEARD.append(("third", event.name, event.mode))

async def later(event):
    HEARD.append(("later", event.name, event.mode))
"""
SIMULATED: dict[str, Any] = {"simulate": True, "mode": "together-serverless"}


@pytest.fixture
def heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What the functions of the module ``told_of`` were told."""
    (tmp_path / "told_of.py").write_text(MODULE)
    (tmp_path / "breaks_at_import.py").write_text("raise OSError('no disk')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "told_of", raising=False)
    import told_of  # type: ignore[import-not-found]  # written above

    return told_of.HEARD


async def test_named_hooks_are_called_as_registered_ones(make: Making, heard: Any) -> None:
    environ = {"HYBRID_INFER_HOOKS__ON_SWITCH": "told_of:first, told_of:Group.third, told_of:second"}
    api = make(environ=environ, **SIMULATED)
    await api.switch("modal")
    assert heard == [(name, "on_switch", "modal") for name in ("first", "third", "second")]
    assert [name for name in HOOKS if api.client.hooks.wants(name)] == ["on_switch"]


async def test_all_that_is_wrong_is_told_at_once_with_variable_value_and_what_is_allowed(
    make: Making, heard: Any
) -> None:
    environ = {
        "HYBRID_INFER_HOOKS__ON_READY": "nowhere.at_all:f",
        "HYBRID_INFER_HOOKS__ON_IDLE": "told_of:first, told_of:missing",
        "HYBRID_INFER_HOOKS__BEFORE_STOP": "breaks_at_import:f",
    }
    with pytest.raises(ConfigurationError) as caught:
        make(environ=environ, hooks={"on_switch": "told_of:NUMBER"}, **SIMULATED)
    allowed = "must be package.module:function, a function that takes one HookEvent"
    assert all(problem.endswith(f"; {allowed}") for problem in caught.value.problems)
    begins = (
        'HYBRID_INFER_HOOKS__ON_READY="nowhere.at_all:f": nowhere.at_all cannot be imported: ModuleNotFound',
        'HYBRID_INFER_HOOKS__ON_IDLE="told_of:missing": told_of has no missing',
        'HYBRID_INFER_HOOKS__BEFORE_STOP="breaks_at_import:f": breaks_at_import cannot be imported: OSErr',
        'argument hooks.on_switch="told_of:NUMBER": it is no function',
    )
    assert len(caught.value.problems) == len(begins)
    for problem, begin in zip(caught.value.problems, begins, strict=True):
        assert problem.startswith(begin)


async def test_an_async_function_that_the_environment_names_needs_the_async_client(
    make: Making, heard: Any
) -> None:
    environ = {"HYBRID_INFER_HOOKS__ON_SWITCH": "told_of:later"}
    if make.colour == "sync":
        with pytest.raises(ConfigurationError, match="it is async, and Client has no event loop"):
            make(environ=environ, **SIMULATED)
        return
    await make(environ=environ, **SIMULATED).switch("modal")
    assert heard == [("later", "on_switch", "modal")]
