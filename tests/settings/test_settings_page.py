"""What is known of each setting, and the page made of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from hybrid_infer.calls.call import CHOICES, MODES
from hybrid_infer.settings import (
    BudgetSettings,
    HookSettings,
    HybridSettings,
    ModelTarget,
    PriceSettings,
    Settings,
)
from hybrid_infer.settings.explained import Explained

GENERATOR = Path(__file__).parents[2] / "docs" / "generate_settings.py"


def run(script: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(script), *arguments], capture_output=True, text=True)


def test_every_field_is_an_option_with_one_line_of_text_and_a_variable() -> None:
    options = {option.name: option for option in Settings.options()}
    tables = {"models", "hybrid", "hooks", "purposes", "prices", "budgets"}
    assert set(Settings.model_fields) - tables <= set(options)
    assert {f"hooks.{name}" for name in HookSettings.model_fields} <= set(options)
    assert {f"hybrid.{name}" for name in HybridSettings.model_fields} <= set(options)
    assert {f"models.<name>.<mode>.{name}" for name in ModelTarget.model_fields} <= set(options)
    assert {f"prices.<name>.{name}" for name in PriceSettings.model_fields} <= set(options)
    assert {f"budgets.<name>.{name}" for name in BudgetSettings.model_fields} <= set(options)
    assert {"purposes.<name>", "models.<name>.mode", "models.<name>.never_leave"} <= set(options)
    assert len(options) == len(Settings.options())
    for option in options.values():
        assert option.text.endswith(".") and "\n" not in option.text
        assert option.allowed
        assert option.variables[0].startswith("HYBRID_INFER_")


def test_an_option_tells_name_variables_default_range_and_text() -> None:
    options = {option.name: option for option in Settings.options()}
    retries = options["max_retries"]
    assert retries.variables == ("HYBRID_INFER_MAX_RETRIES",)
    assert (retries.default, retries.allowed, retries.secret) == (2, "a whole number from 0 to 20", False)
    assert "at most 3 attempts" in retries.text
    key = options["together_api_key"]
    assert key.variables == ("HYBRID_INFER_TOGETHER_API_KEY", "TOGETHER_API_KEY")
    assert key.secret
    assert options["models.<name>.<mode>.url"].variables == ("HYBRID_INFER_MODELS__<NAME>__<MODE>__URL",)
    assert options["hybrid.base"].variables == ("HYBRID_INFER_HYBRID__BASE",)
    assert options["hybrid.base"].choices == MODES
    purpose = options["purposes.<name>"]
    assert (purpose.variables, purpose.choices) == (("HYBRID_INFER_PURPOSES__<NAME>",), CHOICES)


def test_a_number_that_may_be_unset_has_its_range_all_the_same() -> None:
    options = {option.name: option for option in Settings.options()}
    cap, most = options["hybrid.cap"], options["models.<name>.<mode>.max_in_flight"]
    assert (cap.default, cap.allowed) == (None, "a number above 0")
    assert (most.default, most.allowed) == (None, "a whole number of at least 1")


def test_explain_has_a_row_for_every_setting_and_for_what_is_said_of_models() -> None:
    settings = Settings.load(
        {
            "simulate": True,
            "fallback": ["modal", "a"],
            "hybrid": {"cap": 2},
            "purposes": {"nightly": "modal"},
        },
        environ={"HYBRID_INFER_MODELS__A__MODAL__URL": "http://h/v1"},
    )
    rows = settings.explain()
    assert Explained(name="simulate", value="true", source="argument") in rows
    assert Explained(name="timeout", value="600.0", source="default") in rows
    assert Explained(name="model", value="not set", source="default") in rows
    assert Explained(name="fallback", value="modal, a", source="argument") in rows
    assert Explained(name="hybrid.cap", value="2.0", source="argument") in rows
    assert Explained(name="hybrid.base", value="not set", source="default") in rows
    assert rows[-2] == Explained(name="purposes.nightly", value="modal", source="argument")
    assert rows[-1] == Explained(
        name="models.a.modal.url", value="http://h", source="environment HYBRID_INFER_MODELS__A__MODAL__URL"
    )
    assert [row.name for row in rows[:-2]] == [
        option.name for option in Settings.options() if "<" not in option.name and option.name != "config"
    ]


def test_the_page_is_up_to_date() -> None:
    done = run(GENERATOR, "--check")
    assert done.returncode == 0, done.stderr


def test_a_page_that_is_out_of_date_or_missing_fails_the_check(tmp_path: Path) -> None:
    script = tmp_path / GENERATOR.name
    script.write_text(GENERATOR.read_text())
    assert run(script, "--check").returncode == 1
    assert run(script).returncode == 0
    assert run(script, "--check").returncode == 0
    (tmp_path / "settings.md").write_text("old")
    done = run(script, "--check")
    assert done.returncode == 1
    assert "out of date" in done.stderr
    assert run(script, "--chek").returncode == 2
