"""Extracts: sentences taken from a text, for answers that are made from the request."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

_LINE = re.compile(r"^[ \t]*\[(\d+:\d\d(?::\d\d)?)\][ \t]*([^:\n]{1,40}):[ \t]*(.+)$", re.MULTILINE)
_HEADING = re.compile(r"^#.*$", re.MULTILINE)
_SENTENCE_END = re.compile(r"(?<=[.!?…])[\"”\u2019]?\s+(?=[\"“\u2018\w])")
_WORD = re.compile(r"[^\W\d_]{4,}")

_DECISION = re.compile(
    r"\b(we (have )?(decided|agreed)|(it|that)'?s (decided|agreed)|we'?re agreed|we are agreed"
    r"|let'?s go with|we'?ll go with|decision:)",
    re.IGNORECASE,
)
_WHEN = (
    r"(?:end of (?:the )?(?:day|week|month)|today|tonight|tomorrow|this week|next week|noon"
    r"|(?:mon|tues|wednes|thurs|fri|satur|sun)day|the [a-z]+(?:th|st|nd|rd)\b|\d{1,2}(?:st|nd|rd|th)\b)"
)
_FROM = r"(?:by|before|on|until|at)"
_DUE = re.compile(rf"\b({_FROM}\s+(?:(?!{_FROM}\b)\w+\s+){{0,3}}?{_WHEN}|{_WHEN})", re.IGNORECASE)
_DOING = (
    r"(?:send|share|draft|call|write|talk|run|review|prepare|check|fix|update|schedule|report|test|share|confirm"
    r"|put|have|get|take|tell|ask|add|set|move|book|post|publish|finish|measure|look|find|start|own|do)"
)
_PROMISE = re.compile(rf"\b(?:I'?ll|I will|let me)\s+(?:also\s+|then\s+)?{_DOING}\b", re.IGNORECASE)
_ASSIGNED = re.compile(rf"\b([A-ZÀ-Þ]\w+(?:\s+and\s+(?:I\b|[A-ZÀ-Þ]\w+))?)(?:\s+will|'ll)\s+{_DOING}\b")
_NAMED = re.compile(r"\baction items?\b", re.IGNORECASE)
_UNSURE = re.compile(r"^(if|when|maybe|what if|then)\b|\?$", re.IGNORECASE)

_TRIFLE = 30
_NOBODY = frozenset(("He", "I", "It", "She", "That", "They", "This", "We", "You"))
_DULL = frozenset(
    re.findall(
        r"\w+",
        """about after again also because before being could every first from going have here into just know
        like little make more most much need only other over really right same should some something still
        than that their them then there these they thing things think this those very want well were what
        when where which while will with would year yeah your""",
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One sentence of a transcript."""

    time: str
    speaker: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One action item; `due` is in the words of the speaker."""

    owner: str
    task: str
    due: str | None
    time: str


def transcript(text: str) -> tuple[Said, ...]:
    """The sentences of all lines like ``[mm:ss] Name: text``."""
    return tuple(
        Said(time=time, speaker=speaker.strip(), text=sentence)
        for time, speaker, line in _LINE.findall(text)
        for sentence in sentences(line)
    )


def without_transcript(text: str) -> str:
    """What stands around the transcript and its headings: the instructions."""
    return _HEADING.sub("", _LINE.sub("", text))


def sentences(text: str) -> list[str]:
    """The sentences of a text, in order."""
    parts = [part.strip() for line in text.splitlines() for part in _SENTENCE_END.split(line)]
    return [part for part in parts if part]


def is_decision(text: str) -> bool:
    """Whether something is decided in this sentence."""
    return len(text) > _TRIFLE and _DECISION.search(text) is not None and not text.endswith("?")


def action_items(said: Sequence[Said]) -> list[Item]:
    """Sentences in which somebody commits to something; only those with a date, if there are enough."""
    items = [item for entry in said if (item := _item(entry)) is not None]
    dated = [item for item in items if item.due is not None]
    return dated if len(dated) >= 3 else items


def _item(entry: Said) -> Item | None:
    text = entry.text
    if _UNSURE.search(text):
        return None
    assigned = _ASSIGNED.search(text)
    if assigned is not None and assigned[1].split()[0] not in _NOBODY:
        owner = re.sub(r"^(\w+) and I$", rf"{entry.speaker} and \1", assigned[1])
    elif _PROMISE.search(text) or _NAMED.search(text):
        owner = entry.speaker
    else:
        return None
    due = _DUE.search(text)
    return Item(owner=owner, task=text, due=due[1] if due else None, time=entry.time)


def weightiest(texts: Sequence[str], count: int) -> list[int]:
    """The positions of the sentences whose words are the most frequent in the whole, in order of the text."""
    words = [[word for word in _WORD.findall(text.lower()) if word not in _DULL] for text in texts]
    often = Counter(word for sentence in words for word in set(sentence))

    def weight(index: int) -> float:
        return sum(often[word] for word in set(words[index])) / (8 + len(words[index]))

    long = [index for index in range(len(texts)) if len(words[index]) >= 5]
    return sorted(sorted(long, key=lambda index: (-weight(index), index))[:count])
