"""Faults in a file: TOML, or the same as JSON.

seed = 7                  # of the probabilities; may be left out

[[fault]]                 # the first one that fires wins
kind = "status"           # what happens, with the parameters of the kind
status = 429
retry_after = 2
mode = "modal"            # to which requests, and when
on = "1-3"
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hybrid_infer.errors import ConfigurationError
from hybrid_infer.settings.wording import did_you_mean, found
from hybrid_infer.simulator.fault_rules import CONDITIONS, FaultPlan, FaultRule, rule_problems
from hybrid_infer.simulator.faults import PARAMETERS, Fault, fault_problems
from hybrid_infer.simulator.shapes import is_list, is_object

_KEYS = ("seed", "fault")


def read_faults(path: str | os.PathLike[str]) -> FaultPlan:
    """The plan in a TOML file.

    Raises:
        ConfigurationError: naming everything that is wrong with it.
    """
    import tomllib  # needed where a file is named only

    name = os.fsdecode(path)
    try:
        content = Path(name).read_bytes()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigurationError(f"faults {json.dumps(name)}: cannot read the file: {why}") from None
    try:
        table = tomllib.loads(content.decode())
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{name}: not TOML: {error}") from None
    return plan_of(table, where=name)


def plan_of(table: object, *, where: str) -> FaultPlan:
    """The plan that a file's table, or a JSON object, describes.

    Args:
        where: what it stands in, for messages.

    Raises:
        ConfigurationError: naming everything that is wrong with it.
    """
    if not is_object(table):
        raise ConfigurationError(f"{where}: must be a table with [[fault]] in it, not {found(table)}")
    problems = [f"{where}: {key}: {_no_such_key(key)}" for key in table if key not in _KEYS]
    seed: Any = table.get("seed")
    if seed is not None and (not isinstance(seed, int) or isinstance(seed, bool)):
        problems.append(f"{where}: seed: must be a whole number")
    entries: Any = table.get("fault", [])
    if not is_list(entries):
        problems.append(f"{where}: fault: must be a list: write [[fault]] above each")
        entries = []
    rules: list[FaultRule] = []
    for number, entry in enumerate(entries, start=1):
        wrong = [f"{where}: fault {number}: {problem}" for problem in _problems(entry)]
        problems += wrong
        if not wrong:
            rules.append(_rule(entry))
    if problems:
        raise ConfigurationError(problems)
    return FaultPlan(rules=tuple(rules), seed=seed)


def table_of(plan: FaultPlan) -> dict[str, Any]:
    """The plan as a file writes it."""
    seed = {} if plan.seed is None else {"seed": plan.seed}
    return {**seed, "fault": [rule.as_table() for rule in plan.rules]}


def _no_such_key(key: str) -> str:
    near = did_you_mean(key, (*_KEYS, "faults"))
    if near is None and key in ("kind", *PARAMETERS, *CONDITIONS):
        return "belongs below a line [[fault]]"
    return f"no such key; did you mean {'[[fault]]' if near in ('fault', 'faults') else near or '[[fault]]'}?"


def _problems(entry: object) -> list[str]:
    if not is_object(entry):
        return [f"must be a table, not {found(entry)}"]
    if "kind" not in entry:
        return ['kind: is missing, e.g. kind = "refuse"']
    problems: list[str] = []
    for key in entry:
        if key not in ("kind", *PARAMETERS, *CONDITIONS):
            near = did_you_mean(key, (*PARAMETERS, *CONDITIONS))
            hint = f"did you mean {near}?" if near else "the page on faults of the documentation lists them"
            problems.append(f"{key}: no such key; {hint}")
    problems += fault_problems(entry["kind"], _those(entry, PARAMETERS))
    return problems + rule_problems(_those(entry, CONDITIONS))


def _rule(entry: Mapping[str, Any]) -> FaultRule:
    fault = Fault(entry["kind"], **_those(entry, PARAMETERS))
    return FaultRule(fault=fault, **_those(entry, CONDITIONS))


def _those(entry: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: entry[name] for name in names if name in entry}
