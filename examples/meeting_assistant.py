"""Meeting assistant: a summary, the action items and the decisions of every transcript in a folder.

It runs as it is, without a key, against simulated providers:

    HYBRID_INFER_SIMULATE=1 python meeting_assistant.py

Where it runs is set outside, for example with HYBRID_INFER_MODE=modal. Nothing below knows about it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

from hybrid_infer import APIError, AsyncClient, Hybrid

TRANSCRIPTS = Path(__file__).parent / "transcripts"
AT_A_TIME = 4

ROLE = "You help people after a meeting. Use only what was said in it, and name who said it."
SUMMARY = "Write a summary of this meeting in at most ten lines."
ACTION_ITEMS = "List the action items: who does what, and by when. One per line, each after a dash."
DECISIONS = "List the decisions. One per line, each after a dash."


@dataclass
class Minutes:
    """What is known of one meeting. After an `error` it holds what had been answered before."""

    title: str
    summary: str = ""
    action_items: list[str] = field(default_factory=list)
    decisions: list[str] = field(default_factory=list)
    calls: list[Hybrid] = field(default_factory=list)
    error: APIError | None = None


async def assist(client: AsyncClient, transcript: str) -> Minutes:
    """The minutes of one meeting. Its title is the first line of the transcript."""
    title, _, said = transcript.partition("\n")
    minutes = Minutes(title.strip("# "))
    try:
        # One after the other, the transcript first: providers bill a prompt's repeated beginning at less.
        minutes.summary = await streamed(client, said, SUMMARY, minutes.calls)
        minutes.action_items = points(await streamed(client, said, ACTION_ITEMS, minutes.calls))
        minutes.decisions = points(await complete(client, said, DECISIONS, minutes.calls))
    except APIError as error:
        minutes.error = error
        minutes.calls.append(error.hybrid)
    return minutes


async def streamed(client: AsyncClient, said: str, task: str, calls: list[Hybrid]) -> str:
    """Ask, and take the answer piece by piece as it is written."""
    pieces: list[str] = []
    async with await client.chat.completions.create(messages=prompt(said, task), stream=True) as stream:
        async for chunk in stream:
            for choice in chunk.choices:
                pieces.append(choice.delta.content or "")  # show it to somebody who waits
    calls.append(stream.hybrid)
    return "".join(pieces)


async def complete(client: AsyncClient, said: str, task: str, calls: list[Hybrid]) -> str:
    """Ask, and take the answer when it is complete."""
    reply = await client.chat.completions.create(messages=prompt(said, task))
    calls.append(reply.hybrid)
    return reply.choices[0].message.content or ""


def prompt(said: str, task: str) -> list[dict[str, str]]:
    return [{"role": "system", "content": ROLE}, {"role": "user", "content": f"{said}\n\n{task}"}]


def points(answer: str) -> list[str]:
    """The lines of a list, without their dashes."""
    lines = (line.strip() for line in answer.splitlines())
    return [line.lstrip("-•* ") for line in lines if line.startswith(("-", "•", "*"))]


async def run(client: AsyncClient, folder: Path) -> list[Minutes]:
    """The minutes of all transcripts in `folder`, a few meetings at a time."""
    places = asyncio.Semaphore(AT_A_TIME)

    async def one(path: Path) -> Minutes:
        async with places:
            return await assist(client, path.read_text("utf-8"))

    return await asyncio.gather(*(one(path) for path in sorted(folder.glob("*.txt"))))


def written(minutes: Minutes) -> str:
    """The minutes as text, and in the last line what they took."""
    lists = [("Action items", minutes.action_items), ("Decisions", minutes.decisions)]
    text = [minutes.title, "", minutes.summary]
    text += ["\n".join(["", f"{name}:", *(f"- {item}" for item in items)]) for name, items in lists]
    if minutes.error is not None:
        text += ["", f"not complete: {minutes.error}"]
    unknown = next((call.cost.reason for call in minutes.calls if call.cost.amount is None), None)
    known = sum(call.cost.amount for call in minutes.calls if call.cost.amount is not None)
    cost = f"${known:.6f}" if unknown is None else f"cost unknown: {unknown}"
    seconds = sum(call.latency or 0.0 for call in minutes.calls)
    text += ["", f"[{len(minutes.calls)} calls to {minutes.calls[-1].target}, {seconds:.1f} s, {cost}]", ""]
    return "\n".join(text)


async def main() -> None:
    async with AsyncClient() as client:
        for minutes in await run(client, TRANSCRIPTS):
            print(written(minutes))


if __name__ == "__main__":
    asyncio.run(main())
