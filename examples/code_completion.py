"""Code completion: what an editor shows in grey while somebody types.

A suggestion is worth something for a second or so. So each request has a short time, asks for a line, may be
hedged (a request that takes unusually long is sent a second time), and is cancelled as soon as another key is
pressed: the provider is told to stop, and what it had written is all that is paid.

    HYBRID_INFER_SIMULATE=1 python code_completion.py          # no key: simulated providers
    HYBRID_INFER_MODE=openai-compatible HYBRID_INFER_BASE_URL=http://localhost:8000 python code_completion.py

Give it a model that was trained to fill in the middle (HYBRID_INFER_MODEL, where the mode has more than one).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from hybrid_infer import APIError, AsyncClient, DeadlineExceededError, Hybrid, SaturatedError

WORTH = 1.5
"""Seconds after which nobody wants the suggestion any more."""
SETTLED = 0.08
"""Seconds without a key before it is asked for: not every letter is worth a request."""

MARKS: str | None = "<|fim_prefix|>{before}<|fim_suffix|>{after}<|fim_middle|>"
"""How the model marks a gap, here those of Qwen's coders. None sends `suffix` instead, which OpenAI, DeepSeek
and Ollama know; Together's package (3.1.1), vLLM and llama.cpp do not, and there the marks are the way."""

BEFORE = "def mean(values: list[float]) -> float:\n    "
AFTER = "\n\n\nprint(mean([1.0, 2.0, 4.0]))\n"
TYPED = (("return", 0.05), (" ", 0.8), ("sum(", 0.3), ("val", 0.05), ("ues)", 0.2), (" / ", 0.8))
"""What is typed in one go, and the seconds until the next key."""


def gap(before: str, after: str) -> dict[str, Any]:
    """The arguments that ask for what belongs between two pieces of code."""
    if MARKS is None:
        return {"prompt": before, "suffix": after}
    return {"prompt": MARKS.format(before=before, after=after)}


@dataclass
class Report:
    """What became of the requests, in numbers."""

    asked: int = 0
    shown: list[Hybrid] = field(default_factory=list[Hybrid])
    outdated: list[Hybrid | None] = field(default_factory=list[Hybrid | None])
    """None where not even the beginning of an answer had come: what that costs, the provider alone knows."""
    late: int = 0
    failed: list[APIError] = field(default_factory=list[APIError])

    def __str__(self) -> str:
        shown, outdated, failed = len(self.shown), len(self.outdated), len(self.failed)
        lines = [
            f"{self.asked} asked, {shown} shown, {outdated} outdated, {self.late} too late, {failed} failed"
        ]
        for name, seconds in (
            ("first token", [one.time_to_first_token for one in self.shown]),
            ("whole line", [one.latency for one in self.shown]),
        ):
            taken = sorted(second for second in seconds if second is not None)
            if taken:
                middle, worst = taken[len(taken) // 2], taken[-1]
                lines.append(f"{name}: {1000 * middle:.0f} ms in the middle, {1000 * worst:.0f} ms at worst")
        amounts = [one.cost.amount if one else None for one in (*self.shown, *self.outdated)]
        known = [amount for amount in amounts if amount is not None]
        costs = [f"${sum(known):.8f} of {len(known)} requests"] if known else []
        if len(known) < len(amounts):
            costs.append(f"unknown of {len(amounts) - len(known)}")
        lines.append(f"cost: {', '.join(costs) or 'none'}")
        return "\n".join(lines)


class Completer:
    """Suggests what comes next; a key that is pressed makes the suggestion before it outdated."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client.with_options(timeout=WORTH, hedge=True, max_retries=0, purpose="completion")
        self._task: asyncio.Task[None] | None = None
        self.report = Report()

    async def warm_up(self) -> None:
        """When the editor starts: a machine that is not running may take a minute, and nobody waits yet."""
        await self._client.with_options(timeout=300).completions.create(prompt="#", max_tokens=1)

    def key(self, before: str, after: str) -> None:
        """The text around the cursor has changed."""
        if self._task is not None:
            self._task.cancel()
        self._task = asyncio.create_task(self._suggest(before, after))

    async def _suggest(self, before: str, after: str) -> None:
        await asyncio.sleep(SETTLED)
        self.report.asked += 1
        stream = None
        text = ""
        try:
            stream = await self._client.completions.create(
                **gap(before, after), stream=True, max_tokens=32, temperature=0, stop=["\n"]
            )
            async with stream:
                async for chunk in stream:
                    for choice in chunk.choices:
                        text += choice.text  # shown in grey, piece by piece
        except asyncio.CancelledError:
            self.report.outdated.append(stream.hybrid if stream is not None else None)
            raise
        except (DeadlineExceededError, SaturatedError):
            self.report.late += 1
        except APIError as error:
            self.report.failed.append(error)
        else:
            self.report.shown.append(stream.hybrid)
            print(f"{before.splitlines()[-1].strip()!r:28} {text.strip()!r}")

    async def close(self) -> None:
        if self._task is not None:
            await asyncio.wait([self._task])


async def run(client: AsyncClient) -> Report:
    """Somebody types a line of code."""
    completer = Completer(client)
    await completer.warm_up()
    before = BEFORE
    for piece, pause in TYPED:
        for letter in piece:
            before += letter
            completer.key(before, AFTER)
            await asyncio.sleep(0.05)
        await asyncio.sleep(pause)
    await completer.close()
    return completer.report


async def main() -> None:
    async with AsyncClient() as client:
        print(await run(client))


if __name__ == "__main__":
    asyncio.run(main())
