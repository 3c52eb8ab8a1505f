"""`hybrid-infer call`: one call, to try a mode."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hybrid_infer.calls.call import ModeChoice
from hybrid_infer.cli.config import Config, config_file
from hybrid_infer.cli.terminal import AsJson, decimals, note, write_json

if TYPE_CHECKING:
    from decimal import Decimal

    from hybrid_infer.calls.chat import ChatCompletion, ChatCompletionChunk
    from hybrid_infer.calls.hybrid import Hybrid
    from hybrid_infer.calls.money import Cost
    from hybrid_infer.streams import Stream

_SHOWN_WAIT = 0.05
"""Seconds in the queue from which on they are worth a word."""


def call(
    prompt: Annotated[
        list[str], typer.Argument(metavar="PROMPT", help="What to ask; - stands for standard input.")
    ],
    mode: Annotated[
        ModeChoice | None, typer.Option(help="Where to run it, instead of the mode of your settings.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="A model of your settings, or the provider's own name of one.")
    ] = None,
    stream: Annotated[
        bool | None,
        typer.Option("--stream/--no-stream", help="Print the answer as it comes; the default in a terminal."),
    ] = None,
    system: Annotated[str | None, typer.Option(metavar="TEXT", help="The system message.")] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Most tokens of the answer.")] = None,
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Ask a model, and see what the call took.

    The answer goes to stdout; mode, time and cost go to stderr. The answer comes in one piece if stdout is
    not a terminal.
    """
    from hybrid_infer.client import Client

    messages = [{"role": "user", "content": _text(prompt)}]
    if system is not None:
        messages.insert(0, {"role": "system", "content": system})
    live = stream if stream is not None else sys.stdout.isatty() and not as_json
    with Client(mode=mode, model=model, config=config_file(config), upkeep=False) as client:
        create = client.chat.completions.create
        if live:
            completion = _follow(
                create(messages=messages, stream=True, max_tokens=max_tokens), show=not as_json
            )
        else:
            completion = create(messages=messages, max_tokens=max_tokens)
    choice = completion.choices[0] if completion.choices else None
    answer = (choice.message.content if choice is not None else None) or ""
    if as_json:
        usage = completion.usage
        write_json(
            {
                "text": answer,
                "usage": None if usage is None else usage.model_dump(mode="json", exclude_none=True),
                "hybrid": hybrid_json(completion.hybrid),
            }
        )
        return
    if not live:
        typer.echo(answer)
    if choice is not None and choice.finish_reason == "length":
        note("warning: the answer was cut off: it reached its most tokens")
    for warning in completion.hybrid.warnings:
        note(f"warning: {warning}")
    note(summary(completion.hybrid))


def _text(words: list[str]) -> str:
    """The prompt, what stands on standard input included.

    Raises:
        typer.BadParameter: there is nothing to ask.
    """
    text = " ".join(sys.stdin.read() if word == "-" else word for word in words).strip()
    if not text:
        raise typer.BadParameter("there is nothing to ask: it is empty", param_hint="PROMPT")
    return text


def _follow(stream: Stream[ChatCompletionChunk, ChatCompletion], *, show: bool) -> ChatCompletion:
    """Read a stream to its end, printed as it comes if `show`."""
    from hybrid_infer.calls.chat import ChatStreamReset

    with stream:
        try:
            for chunk in stream:
                if show and isinstance(chunk, ChatStreamReset):
                    typer.echo()
                    note(f"the stream broke, here is the answer anew ({chunk.reason})")
                for choice in chunk.choices:
                    if show and choice.delta.content:
                        typer.echo(choice.delta.content, nl=False)
        finally:
            if show:
                typer.echo()
    return stream.final()


def summary(hybrid: Hybrid) -> str:
    """What a call took, in one line."""
    parts = [hybrid.target or "no target"]
    if hybrid.latency is not None:
        parts.append(f"{hybrid.latency:.2f} s")
    if hybrid.time_to_first_token is not None:
        parts.append(f"first token {hybrid.time_to_first_token:.2f} s")
    if hybrid.queue_wait >= _SHOWN_WAIT:
        parts.append(f"queued {hybrid.queue_wait:.1f} s")
    if hybrid.cold_start:
        parts.append(f"cold start {hybrid.cold_wait:.1f} s")
    parts.append(f"{hybrid.attempts} attempt" + ("s" if hybrid.attempts != 1 else ""))
    return " · ".join([*parts, _cost(hybrid.cost)])


def _cost(cost: Cost) -> str:
    if cost.amount is None:
        return f"cost unknown: {cost.reason}"
    source = ", ".join(str(part) for part in (cost.source, cost.priced_at) if part is not None)
    about = (
        f"about ${decimals(cost.amount)}: {cost.reason}" if cost.estimated else f"${decimals(cost.amount)}"
    )
    return f"{about} ({source})" if source else about


def hybrid_json(hybrid: Hybrid) -> dict[str, Any]:
    """`reply.hybrid` for JSON: numbers are numbers, dates ISO; the raw response is left out."""
    from dataclasses import asdict, replace

    cost = hybrid.cost
    shape = asdict(replace(hybrid, raw=None, cost=replace(cost, detail=None)))
    del shape["raw"], shape["cost"]["detail"]
    shape["cost"]["amount"] = _float(cost.amount)
    parts = cost.parts
    shape["cost"]["parts"] = None if parts is None else {k: float(v) for k, v in asdict(parts).items()}
    shape["cost"]["equivalent"] = [
        {"where": one.where, "basis": one.basis, "amount": _float(one.amount), "reason": one.reason}
        for one in cost.equivalent
    ]
    shape["cost"]["priced_at"] = None if cost.priced_at is None else cost.priced_at.isoformat()
    return shape


def _float(amount: Decimal | None) -> float | None:
    return None if amount is None else float(amount)
