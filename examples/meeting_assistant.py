"""Meeting assistant: recordings in, minutes out; and what every step of it cost.

Each recording is transcribed, then summarised, then searched for action items, which come back as objects
with an owner and a due date. Several meetings are worked on at a time; one that fails
leaves the others alone.

It runs as it is, without a key, against simulated providers. Transcripts stand in for recordings there:

    HYBRID_INFER_SIMULATE=1 python meeting_assistant.py

With a key and a folder of recordings it does the same to them:

    TOGETHER_API_KEY=… HYBRID_INFER_MODEL=Qwen/Qwen3.5-9B python meeting_assistant.py ~/recordings

Where it runs is set outside, for example with HYBRID_INFER_MODE=modal. Nothing below knows about it.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from hybrid_infer import APIError, AsyncClient, Hybrid

TRANSCRIPTS = Path(__file__).parent / "transcripts"
RECORDINGS = (".txt", ".mp3", ".m4a", ".wav", ".webm", ".flac")
TRANSCRIBER = "openai/whisper-large-v3"
AT_A_TIME = 4

ROLE = "You help people after a meeting. Use only what was said in it, and name who said it."
SUMMARY = "Write a summary of this meeting in at most ten lines."
ACTION_ITEMS = (
    "List the action items of this meeting as JSON: action_items, each with task, owner, and due, in the "
    "words of the speaker, or null where no date was named."
)


@dataclass
class ActionItem:
    """What somebody said they would do."""

    task: str
    owner: str
    due: str | None


@dataclass
class ActionItems:
    """The shape that the model is held to."""

    action_items: list[ActionItem]


@dataclass
class Minutes:
    """What is known of one meeting. After an `error` it holds what had been answered before."""

    title: str
    transcript: str = ""
    summary: str = ""
    action_items: list[ActionItem] = field(default_factory=list[ActionItem])
    steps: dict[str, Hybrid] = field(default_factory=dict[str, Hybrid])
    error: APIError | None = None

    @property
    def calls(self) -> list[Hybrid]:
        return list(self.steps.values())


async def assist(client: AsyncClient, recording: Path) -> Minutes:
    """The minutes of one meeting, which is named as its file is."""
    minutes = Minutes(recording.stem.replace("-", " ").capitalize())
    step = "transcribe"
    try:
        # The verbose form tells how long the recording is, which is what it costs by.
        heard = await client.audio.transcriptions.create(
            file=recording, model=TRANSCRIBER, response_format="verbose_json"
        )
        minutes.steps[step], minutes.transcript = heard.hybrid, heard.text

        step = "summarise"
        async with await client.chat.completions.create(
            messages=prompt(heard.text, SUMMARY), stream=True
        ) as stream:
            async for chunk in stream:
                for choice in chunk.choices:
                    minutes.summary += choice.delta.content or ""  # show it to somebody who waits
        minutes.steps[step] = stream.hybrid

        step = "action items"
        found = await client.chat.completions.create(
            messages=prompt(heard.text, ACTION_ITEMS), response_format=ActionItems
        )
        minutes.steps[step], minutes.action_items = found.hybrid, found.parsed.action_items
    except APIError as error:
        minutes.steps[step], minutes.error = error.hybrid, error
    return minutes


def prompt(said: str, task: str) -> list[dict[str, str]]:
    """The transcript comes first: providers bill a prompt's repeated beginning at less."""
    return [{"role": "system", "content": ROLE}, {"role": "user", "content": f"{said}\n\n{task}"}]


async def run(client: AsyncClient, folder: Path) -> list[Minutes]:
    """The minutes of all recordings in `folder`, a few meetings at a time."""
    places = asyncio.Semaphore(AT_A_TIME)

    async def one(recording: Path) -> Minutes:
        async with places:
            return await assist(client, recording)

    recordings = sorted(path for path in folder.iterdir() if path.suffix.lower() in RECORDINGS)
    return await asyncio.gather(*map(one, recordings))


def written(minutes: Minutes) -> str:
    """The minutes as text, and in the last lines what they took."""
    text = [minutes.title, "", minutes.summary, "", "Action items:"]
    for item in minutes.action_items:
        text.append(f"- {item.owner}: {item.task} (due: {item.due or 'not said'})")
    if minutes.error is not None:
        text += ["", f"not complete: {minutes.error}"]
    text.append("")
    for step, call in minutes.steps.items():
        text.append(f"[{step}: {call.target}, {call.latency or 0.0:.1f} s, {cost([call])}]")
    return "\n".join([*text, ""])


def total(meetings: list[Minutes]) -> str:
    """What each step cost over all meetings, and all steps together."""
    steps = list(dict.fromkeys(step for minutes in meetings for step in minutes.steps))
    lines = [
        f"{step}: {cost(minutes.steps[step] for minutes in meetings if step in minutes.steps)}"
        for step in steps
    ]
    calls = [call for minutes in meetings for call in minutes.calls]
    return "\n".join([*lines, f"total of {len(calls)} calls: {cost(calls)}"])


def cost(calls: Iterable[Hybrid]) -> str:
    """The sum; or why there is none, since what is unknown is not nothing."""
    costs = [call.cost for call in calls]
    unknown = next((cost.reason for cost in costs if cost.amount is None), None)
    if unknown is not None:
        return f"cost unknown: {unknown}"
    return f"${sum(cost.amount for cost in costs if cost.amount is not None):.6f}"


async def main() -> None:
    folder = Path(sys.argv[1]).expanduser() if len(sys.argv) > 1 else TRANSCRIPTS
    async with AsyncClient() as client:
        meetings = await run(client, folder)
    for minutes in meetings:
        print(written(minutes))
    print(total(meetings))


if __name__ == "__main__":
    asyncio.run(main())
