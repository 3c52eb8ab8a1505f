"""Faults in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hybrid_infer.errors import ConfigurationError
from hybrid_infer.simulator.fault_catalogue import ALL_FAULTS
from hybrid_infer.simulator.fault_file import plan_of, read_faults, table_of
from hybrid_infer.simulator.fault_rules import FaultPlan
from hybrid_infer.simulator.faults import Fault

GOOD = """
seed = 7

[[fault]]
kind = "status"
status = 429
retry_after = 2
hint = "retry-after-ms"
headers = { x-region = "us" }
mode = ["modal", "together-serverless"]
on = [1, "3-4"]

[[fault]]
kind = "stall"
keep_alive = 5
probability = 0.1
requests = "streams"
"""

BAD = """
sed = 3

[[fault]]
kind = "stal"
evens = 3

[[fault]]
kind = "status"
status = 200
on = "3-1"
up = 3

[[fault]]
on = 1
"""


def test_a_file_is_what_python_would_have_built(tmp_path: Path) -> None:
    path = tmp_path / "faults.toml"
    path.write_text(GOOD)
    limited = Fault(
        "status", status=429, retry_after=2, hint="retry-after-ms", headers={"x-region": "us"}
    ).when(mode=["modal", "together-serverless"], on=[1, "3-4"])
    stalled = Fault("stall", keep_alive=5).when(probability=0.1, requests="streams")
    assert read_faults(path) == FaultPlan.of([limited, stalled], seed=7)


def test_everything_wrong_is_one_error_with_the_places(tmp_path: Path) -> None:
    path = tmp_path / "faults.toml"
    path.write_text(BAD)
    with pytest.raises(ConfigurationError) as caught:
        read_faults(path)
    said = [problem.removeprefix(f"{path}: ") for problem in caught.value.problems]
    assert said == [
        "sed: no such key; did you mean seed?",
        "fault 1: evens: no such key; did you mean events?",
        "fault 1: kind='stal': no such fault; did you mean stall?",
        "fault 2: status=200: must be from 400 to 599",
        'fault 2: on=\'3-1\': must be a number from 1, "2-4", "5-", or a list of these',
        "fault 2: up and down belong together: well for so long, then at fault for so long",
        'fault 3: kind: is missing, e.g. kind = "refuse"',
    ]


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ([], "must be a table"),
        ({"fault": {"kind": "refuse"}}, "must be a list"),
        ({"fault": [1]}, "fault 1: must be a table"),
        ({"kind": "refuse"}, "belongs below a line [[fault]]"),
        ({"faults": []}, "did you mean [[fault]]?"),
        ({"seed": "x", "fault": []}, "seed: must be a whole number"),
        ({"fault": [{"kind": ["refuse"]}]}, "no such fault"),
        ({"fault": [{"kind": "status", "headers": 3}]}, "a table of header names"),
        ({"fault": [{"kind": "status", "headers": {"a": 3}}]}, "a table of header names"),
    ],
)
def test_another_shape_is_said(table: Any, said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        plan_of(table, where="faults.toml")
    assert said in str(caught.value)


@pytest.mark.parametrize("content", [b"[[fault", b"\xff"])
def test_what_is_not_toml_is_said_with_the_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "faults.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"faults\.toml: not TOML"):
        read_faults(path)


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"gone\.toml.*cannot read the file"):
        read_faults(tmp_path / "gone.toml")


@pytest.mark.parametrize("name", ALL_FAULTS)
def test_a_plan_survives_being_written_and_read(name: str) -> None:
    plan = FaultPlan.of(ALL_FAULTS[name], seed=3)
    assert plan_of(table_of(plan), where="x") == plan
