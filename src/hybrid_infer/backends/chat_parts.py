"""What the chunks of a stream add up to, choice by choice."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from hybrid_infer.calls.chat import ChatMessage, Choice, ChunkChoice, DeltaToolCall, FunctionCall, ToolCall


@dataclass(slots=True, kw_only=True)
class PartialToolCall:
    """One tool call as far as it came."""

    id: str | None = None
    type: str | None = None
    name: str = ""
    arguments: list[str] = field(default_factory=list[str])

    def add(self, delta: DeltaToolCall) -> None:
        """Id, type and name come once, at the start, though some servers repeat them; arguments in pieces."""
        self.id = self.id or delta.id
        self.type = self.type or delta.type
        if delta.function is not None:
            self.name = self.name or delta.function.name or ""
            if delta.function.arguments:
                self.arguments.append(delta.function.arguments)

    def whole(self, index: int) -> ToolCall:
        function = FunctionCall(name=self.name, arguments="".join(self.arguments))
        return ToolCall(id=self.id, type=self.type or "function", index=index, function=function)


@dataclass(slots=True, kw_only=True)
class PartialChoice:
    """One choice as far as its chunks came: the text alone is kept, not the chunks."""

    role: str = "assistant"
    content: list[str] = field(default_factory=list[str])
    reasoning: list[str] = field(default_factory=list[str])
    reasoning_content: list[str] = field(default_factory=list[str])
    refusal: list[str] = field(default_factory=list[str])
    tool_calls: dict[int, PartialToolCall] = field(default_factory=dict[int, PartialToolCall])
    finish_reason: str | None = None
    seed: int | None = None

    def add(self, choice: ChunkChoice) -> None:
        delta = choice.delta
        if delta.content:
            self.content.append(delta.content)
        if delta.reasoning:
            self.reasoning.append(delta.reasoning)
        if delta.reasoning_content:
            self.reasoning_content.append(delta.reasoning_content)
        if delta.refusal:
            self.refusal.append(delta.refusal)
        if delta.tool_calls:
            self._add_tool_calls(delta.tool_calls)
        if delta.role:
            self.role = delta.role
        if choice.finish_reason is not None:
            self.finish_reason = choice.finish_reason
        if choice.seed is not None:
            self.seed = choice.seed

    def _add_tool_calls(self, deltas: Iterable[DeltaToolCall]) -> None:
        for delta in deltas:
            index = delta.index
            if index is None:  # left out: an id begins a call, anything else goes on with the last
                index = len(self.tool_calls) if delta.id else max(len(self.tool_calls) - 1, 0)
            self.tool_calls.setdefault(index, PartialToolCall()).add(delta)

    def whole(self, index: int) -> Choice:
        calls = [call.whole(position) for position, call in sorted(self.tool_calls.items())]
        content = "".join(self.content)
        message = ChatMessage(
            role=self.role,
            content=None if calls and not content else content,
            reasoning="".join(self.reasoning) or None,
            reasoning_content="".join(self.reasoning_content) or None,
            refusal="".join(self.refusal) or None,
            tool_calls=calls or None,
        )
        return Choice(index=index, message=message, finish_reason=self.finish_reason, seed=self.seed)

    def length(self) -> int:
        texts = self.content + (self.reasoning or self.reasoning_content) + self.refusal
        for call in self.tool_calls.values():
            texts += [call.name, *call.arguments]
        return sum(map(len, texts))
