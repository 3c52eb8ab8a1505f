"""Fault: one thing that goes wrong on purpose, as data. `fault_rules` says when it does."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

from hybrid_infer.errors import ConfigurationError
from hybrid_infer.settings.wording import did_you_mean, found

if TYPE_CHECKING:
    from hybrid_infer.simulator.fault_rules import FaultRule

FaultKind = Literal[
    "refuse",
    "reset_before_headers",
    "silence",
    "wrong_content_type",
    "status",
    "cold",
    "saturated",
    "clock_skew",
    "slow_first_token",
    "reset_mid_body",
    "stall",
    "drip",
    "truncate",
    "malformed_event",
    "error_event",
]
FAULT_KINDS: tuple[FaultKind, ...] = get_args(FaultKind)

Hint = Literal["retry-after", "retry-after-date", "retry-after-ms", "x-ratelimit-reset"]
"""How an error says when to come again; ``retry-after-date`` is a `retry-after` with an HTTP date."""

BEFORE_THE_ANSWER = frozenset(
    {
        *("refuse", "reset_before_headers", "silence", "wrong_content_type"),
        *("status", "cold", "saturated", "clock_skew"),
    }
)
"""Kinds in front of the provider, which sees nothing of the request. The others spoil its answer."""

_NUMBER = "a number of seconds from 0"
_COUNT = "a whole number from 0"
_TEXT = "text"

Check = Callable[[object], bool]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_seconds(value: object) -> bool:
    return _is_number(value) and cast("float", value) >= 0


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_text(value: object) -> bool:
    return isinstance(value, str) and "\r" not in value and "\n" not in value


def _is_headers(value: object) -> bool:
    if not isinstance(value, Mapping):
        return False
    pairs = cast("Mapping[object, object]", value).items()
    return all(_is_text(name) and name and _is_text(text) for name, text in pairs)


_CHECKS: Mapping[str, tuple[Check, str]] = MappingProxyType(
    {
        "seconds": (_is_seconds, _NUMBER),
        "events": (_is_count, _COUNT),
        "bytes": (_is_count, _COUNT),
        "keep_alive": (lambda value: _is_seconds(value) and value != 0, "a number of seconds above 0"),
        "status": (lambda value: _is_count(value) and 400 <= cast("int", value) < 600, "from 400 to 599"),
        "code": (_is_text, _TEXT),
        "message": (_is_text, _TEXT),
        "body": (lambda value: isinstance(value, str), _TEXT),
        "retry_after": (_is_seconds, _NUMBER),
        "hint": (lambda value: value in get_args(Hint), f"one of {', '.join(get_args(Hint))}"),
        "headers": (_is_headers, "a table of header names and texts"),
    }
)

VARIANTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "cold": ("refusal", "redirect"),
        "slow_first_token": ("head", "content"),
        "stall": ("comment", "event"),
        "truncate": ("clean", "broken"),
        "malformed_event": ("noise", "damaged"),
    }
)
"""Of the kinds that have some, the default first."""

_ERROR: Mapping[str, Any] = {"code": None, "message": None, "retry_after": None, "hint": "retry-after"}

DEFAULTS: Mapping[FaultKind, Mapping[str, Any]] = MappingProxyType(
    {
        "refuse": {},
        "reset_before_headers": {"seconds": 0.0},
        "silence": {},
        "wrong_content_type": {"body": None},
        "status": {"status": 500, **_ERROR, "headers": None, "body": None},
        "cold": {"variant": "refusal", "seconds": 150.0},
        "saturated": {**_ERROR, "headers": None},
        "clock_skew": {"seconds": 3600.0, "status": 429, "retry_after": 2.0},
        "slow_first_token": {"variant": "head", "seconds": 30.0},
        "reset_mid_body": {"events": 3, "bytes": None},
        "stall": {"variant": "comment", "events": 3, "bytes": None, "keep_alive": None},
        "drip": {"seconds": 0.1},
        "truncate": {"variant": "clean", "events": 3, "bytes": None},
        "malformed_event": {"variant": "noise", "events": 3},
        "error_event": {"events": 0, "code": "server_error", "message": "The engine failed."},
    }
)
"""What each kind takes, and what it is where nothing is said."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong. What is None is as `DEFAULTS` has it for the kind.

    Attributes:
        kind: what happens.
        variant: a kind's other way, see `VARIANTS`.
        seconds: of the delay before a reset or a first token, between two bytes of a drip, until the
            redirect of a cold start; for ``clock_skew`` how far the provider's clock is ahead (negative:
            behind).
        events: how many events of a stream come before it.
        bytes: how many bytes of the body come before it; for a complete answer half of them where unset.
        keep_alive: a stalled stream sends a sign of life every so many seconds: a comment or an empty event.
        status: of the error, 400 to 599.
        code: of the error, in the provider's shape.
        message: of the error.
        body: text in the place of the provider's own body.
        retry_after: seconds that the error asks to wait; None is no hint.
        hint: how it says so.
        headers: further headers.

    Raises:
        ConfigurationError: naming everything that is wrong.
    """

    kind: FaultKind
    variant: str | None = None
    seconds: float | None = None
    events: int | None = None
    bytes: int | None = None
    keep_alive: float | None = None
    status: int | None = None
    code: str | None = None
    message: str | None = None
    body: str | None = None
    retry_after: float | None = None
    hint: Hint | None = None
    headers: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        given = {name: value for name in PARAMETERS if (value := getattr(self, name)) is not None}
        problems = fault_problems(self.kind, given)
        if problems:
            raise ConfigurationError([f"Fault({self.kind!r}): {problem}" for problem in problems])

    def value(self, name: str) -> Any:
        """A parameter, or the kind's default for it."""
        given = getattr(self, name)
        return DEFAULTS[self.kind].get(name) if given is None else given

    def when(self, **conditions: Any) -> FaultRule:
        """The rule that lets it happen; `conditions` are the fields of `FaultRule`, e.g. ``on=1``.

        Raises:
            ConfigurationError: a condition is unknown or wrong.
        """
        from hybrid_infer.simulator.fault_rules import rule_of

        return rule_of(self, conditions)

    def as_table(self) -> dict[str, Any]:
        """The fault as a file writes it."""
        given = {name: getattr(self, name) for name in ("kind", *PARAMETERS)}
        return {name: value for name, value in given.items() if value is not None}


PARAMETERS: tuple[str, ...] = tuple(field.name for field in fields(Fault) if field.name != "kind")


def fault_problems(kind: object, given: Mapping[str, object]) -> list[str]:
    """What is wrong with a fault of this kind and these parameters, a sentence each."""
    if kind not in FAULT_KINDS:
        if kind == "flapping":
            return ['"flapping" is a matter of time: give up and down, in seconds, with any kind']
        near = did_you_mean(kind, FAULT_KINDS) if isinstance(kind, str) else None
        hint = f"did you mean {near}?" if near else f"use one of {', '.join(FAULT_KINDS)}"
        return [f"kind={kind!r}: no such fault; {hint}"]
    takes = DEFAULTS[kind]
    problems: list[str] = []
    for name, value in given.items():
        if name not in takes:
            near = did_you_mean(name, takes)
            those = f"it takes {', '.join(takes)}" if takes else "it takes no parameters"
            problems.append(f"{name}: {kind} has none; {f'did you mean {near}?' if near else those}")
            continue
        if name == "variant":
            allowed = VARIANTS[kind]
            right, what = value in allowed, f"one of {', '.join(allowed)}"
        elif name == "seconds" and kind == "clock_skew":
            right, what = _is_number(value), "a number of seconds, negative for a clock that is behind"
        else:
            check, what = _CHECKS[name]
            right = check(value)
        if not right:
            shown = f"={value!r}" if isinstance(value, str | int | float) else ""
            problems.append(f"{name}{shown}: must be {what}" + ("" if shown else f", not {found(value)}"))
    return problems
