"""What both modes are asked when they are compared."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias, cast

from hybrid_infer.errors import InvalidCallError

_LONG_MEMO = (
    "The water committee met on the first Monday of the month. Anna reported that the pump at the north well "
    "is due for service and that the part has been ordered. Ben asked whether the dry season would begin "
    "early; nobody knew. It was decided to fill the tank before the end of the week and to check the "
    "readings every second day. "
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """One thing to ask.

    Attributes:
        messages: the conversation, as `chat.completions.create` takes it.
        model: the logical model; None is the one that is moved.
        response_format: as `chat.completions.create` takes it: then the answer has to fit.
        max_tokens: most tokens of the answer.
    """

    messages: Sequence[Mapping[str, Any]]
    model: str | None = None
    response_format: Any = None
    max_tokens: int | None = None


def _asked(text: str, **options: Any) -> Prompt:
    return Prompt(messages=({"role": "user", "content": text},), **options)


DEFAULT_PROMPTS: Final[tuple[Prompt, ...]] = (
    _asked("What is the capital of France? Answer with one word.", max_tokens=64),
    _asked("Why is the sky blue? Explain it in two sentences.", max_tokens=256),
    _asked("Translate into German: The meeting begins at nine.", max_tokens=128),
    _asked("A train leaves at 9:40 and arrives at 11:05. How many minutes does it take?", max_tokens=256),
    Prompt(
        messages=(
            {"role": "system", "content": "You are a librarian. Answer briefly."},
            {"role": "user", "content": "Which book should I read about whales?"},
            {"role": "assistant", "content": "Moby-Dick, if you have time."},
            {"role": "user", "content": "And a shorter one?"},
        ),
        max_tokens=256,
    ),
    _asked(
        "Extract the person and the city: Maria moved to Lisbon in May.",
        response_format={
            "type": "json_schema",
            "json_schema": {
                "name": "moved",
                "schema": {
                    "type": "object",
                    "properties": {"person": {"type": "string"}, "city": {"type": "string"}},
                    "required": ["person", "city"],
                },
            },
        },
        max_tokens=128,
    ),
    _asked(f"Summarise in three sentences:\n\n{_LONG_MEMO * 40}", max_tokens=256),
)
"""Short and long, with a system message, with turns, and one with a schema. None is as good as your own:
record what your application asks, and its longest prompts above all."""

Prompts: TypeAlias = "str | os.PathLike[str] | Iterable[Prompt | Mapping[str, Any]]"


def prompts_of(given: Prompts | None) -> tuple[Prompt, ...]:
    """From what a user gives: a JSONL file, or prompts, or mappings of that shape; None is the default set.

    Raises:
        InvalidCallError: it cannot be read, is empty, or a line of it is no prompt.
    """
    if given is None:
        return DEFAULT_PROMPTS
    if isinstance(given, str | os.PathLike):
        found = _read(Path(given))
    else:
        found = tuple(_prompt(one, f"prompts[{index}]") for index, one in enumerate(given))
    if not found:
        raise InvalidCallError("prompts: there are none; leave them out for the default ones")
    return found


def _read(path: Path) -> tuple[Prompt, ...]:
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise InvalidCallError(f"prompts: {path} cannot be read: {error}") from None
    found: list[Prompt] = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                found.append(_prompt(json.loads(line), f"{path}:{number}"))
            except ValueError as error:
                raise InvalidCallError(f"{path}:{number}: is no JSON: {error}") from None
    return tuple(found)


def _prompt(given: object, where: str) -> Prompt:
    if isinstance(given, Prompt):
        return given
    if not isinstance(given, Mapping):
        raise InvalidCallError(f'{where}: must be an object such as {{"messages": […]}}')
    fields = cast("Mapping[str, Any]", given)
    messages = fields.get("messages")
    if not isinstance(messages, list | tuple) or not messages:
        raise InvalidCallError(f'{where}: "messages" must be a list of messages')
    most, model = fields.get("max_tokens"), fields.get("model")
    if most is not None and (not isinstance(most, int) or isinstance(most, bool) or most < 1):
        raise InvalidCallError(f'{where}: "max_tokens" must be a whole number above 0')
    if model is not None and not isinstance(model, str):
        raise InvalidCallError(f'{where}: "model" must be the name of a model')
    return Prompt(
        messages=tuple(cast("Sequence[Mapping[str, Any]]", messages)),
        model=model,
        response_format=fields.get("response_format"),
        max_tokens=most,
    )
