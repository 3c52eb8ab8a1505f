"""Answers made from the request: no model is at work, and every text says so.

Summaries and action items are sentences taken from the request. Other questions are quoted. JSON and tool
calls cannot carry a remark; responses say it in the header ``x-simulated`` and in `system_fingerprint`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Literal

from pydantic_core import to_json

from hybrid_infer.simulator import extracts
from hybrid_infer.simulator.ask import CHARACTERS_PER_TOKEN, Ask, Tool, cut
from hybrid_infer.simulator.schemas import Material, fill
from hybrid_infer.simulator.served import rambling
from hybrid_infer.simulator.shapes import object_or_empty

SIMULATED = "(simulated)"

Finish = Literal["stop", "length", "tool_calls"]

_WANTS_ITEMS = re.compile(
    r"\b(action items?|to-?dos?|commitments|follow-?ups?|next steps|who does what)\b", re.I
)
_WANTS_SUMMARY = re.compile(r"\b(summar\w+|minutes|tl;?dr|key points|recap|gist)\b", re.I)
_WANTS_DECISIONS = re.compile(r"\bdecisions?\b", re.I)
_LONG = 600
_QUOTE = 160
_KEY_SENTENCES = 6
_RAMBLE = 600
"""Tokens after which even a model that finds no end is stopped."""
_STEM = re.compile(r"[a-z]{3,}")
_COMMON = frozenset(
    "are call can for from get given how not now that the this use what which with you".split()  # noqa: SIM905
)
_CLOSINGS = (
    "No model is at work here: a real one would answer now.",
    "This text was made from your request alone; no model read it.",
    "A model would know the answer. The simulator only knows how long it takes.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One answer, cut into tokens.

    Attributes:
        tokens: of the text, or of the arguments of the tool call.
        tool: the name of the function to call; None for text.
    """

    tokens: tuple[str, ...]
    tool: str | None
    finish: Finish

    @property
    def text(self) -> str:
        return "".join(self.tokens)


def answer(ask: Ask, seed: int) -> tuple[Choice, ...]:
    """The choices asked for. The same for the same seed and request."""
    if ask.garbled:
        text = rambling(_question(ask), CHARACTERS_PER_TOKEN * (min(ask.limit, _RAMBLE) + 1))
        return tuple(_choice(text, replace(ask, limit=min(ask.limit, _RAMBLE))) for _ in range(ask.choices))
    tool = _tool(ask)
    if tool is not None:
        material = Material(question=_question(ask), text=_question(ask))
        arguments = _dumps(object_or_empty(fill(tool.parameters, material)))
        return tuple(_choice(arguments, ask, tool.name) for _ in range(ask.choices))
    if ask.schema is not None:
        text = _dumps(_json(ask, ask.schema))
        return tuple(_choice(text, ask) for _ in range(ask.choices))
    start = Random(f"{seed} {_question(ask)}").randrange(len(_CLOSINGS))
    return tuple(_choice(_text(ask, start + index), ask) for index in range(ask.choices))


def _dumps(value: object) -> str:
    return to_json(value).decode()


def _choice(text: str, ask: Ask, tool: str | None = None) -> Choice:
    finish: Finish = "stop" if tool is None else "tool_calls"
    ends = [at for stop in ask.stop if (at := text.find(stop)) >= 0] if tool is None else []
    tokens = cut(text[: min(ends)] if ends else text)
    if len(tokens) > ask.limit:
        tokens, finish = tokens[: ask.limit], "length"
    return Choice(tokens=tokens, tool=tool, finish=finish)


def _question(ask: Ask) -> str:
    """The last thing the user said."""
    return next((m.text for m in reversed(ask.messages) if m.role == "user"), ask.messages[-1].text).strip()


def _tool(ask: Ask) -> Tool | None:
    """The function to call; on ``auto`` only if the question shares a word with it and no result is there."""
    if not ask.tools or ask.tool == "none":
        return None
    named = next((tool for tool in ask.tools if tool.name == ask.tool), None)
    if named is not None:
        return named
    question = _stems(_question(ask))
    best = max(ask.tools, key=lambda tool: len(question & _stems(f"{tool.name} {tool.description}")))
    if ask.tool == "required":
        return best
    if ask.messages[-1].role == "tool":
        return None
    return best if question & _stems(f"{best.name} {best.description}") else None


def _stems(text: str) -> set[str]:
    return {word[:5] for word in _STEM.findall(text.lower()) if word not in _COMMON}


def _json(ask: Ask, schema: dict[str, object]) -> object:
    whole = _whole(ask)
    items = extracts.action_items(extracts.transcript(whole))
    question = _question(ask)
    if not schema:
        return {"simulated": True, "answer": _text(ask, 0)}
    rows = [
        {
            "owner|assignee|who|person|name|responsible": item.owner,
            "due|deadline|when|date|by": item.due or "not said",
            "task|action|item|what|title|description|text|todo": item.task,
        }
        for item in items
    ]
    return fill(
        schema,
        Material(question=question, text=_text(ask, 0), rows=rows, lines=[item.task for item in items]),
    )


def _whole(ask: Ask) -> str:
    return "\n".join(
        message.text for message in ask.messages if message.role in ("system", "developer", "user")
    )


def _text(ask: Ask, variant: int) -> str:
    last = ask.messages[-1]
    if last.role == "tool":
        return f"{SIMULATED} The tool answered: “{_shortened(last.text)}”."
    whole = _whole(ask)
    said = extracts.transcript(whole)
    wishes = extracts.without_transcript(whole) if said else whole
    wanted = [wish.search(wishes) for wish in (_WANTS_SUMMARY, _WANTS_DECISIONS, _WANTS_ITEMS)]
    summary, decisions, items = wanted
    if said:
        parts = [_key_points(said)] if summary or not any(wanted) else []
        parts += [_decisions(said)] if decisions or parts else []
        parts += [_items(said)] if items else []
        return f"{SIMULATED} " + "\n\n".join(parts)
    if any(wanted) and len(whole) > _LONG:
        texts = extracts.sentences(_question(ask) if len(_question(ask)) > _LONG else whole)
        best = [texts[index] for index in extracts.weightiest(texts, _KEY_SENTENCES)]
        return f"{SIMULATED} Key sentences of the text:\n" + "\n".join(f"- {text}" for text in best)
    return f"{SIMULATED} You asked: “{_shortened(_question(ask))}” {_CLOSINGS[variant % len(_CLOSINGS)]}"


def _key_points(said: Sequence[extracts.Said]) -> str:
    told = [entry for entry in said if not entry.text.endswith("?") and not extracts.is_decision(entry.text)]
    key = [told[index] for index in extracts.weightiest([entry.text for entry in told], _KEY_SENTENCES)]
    speakers = ", ".join(dict.fromkeys(entry.speaker for entry in said))
    return "\n".join(
        [f"Summary of a meeting of {speakers}, in their own words.", "", "Key points:", *map(_line, key)]
    )


def _decisions(said: Sequence[extracts.Said]) -> str:
    decided = [entry for entry in said if extracts.is_decision(entry.text)]
    return "\n".join(["Decisions:", *map(_line, decided)]) if decided else "Decisions: none was found."


def _line(entry: extracts.Said) -> str:
    return f"- {entry.speaker} [{entry.time}]: {entry.text}"


def _items(said: Sequence[extracts.Said]) -> str:
    found = extracts.action_items(said)
    if not found:
        return "Action items: none was found."
    return "\n".join(["Action items:", *(f"- {item.owner} [{item.time}]: {item.task}" for item in found)])


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _QUOTE else f"{line[: _QUOTE - 1].rstrip()}…"
