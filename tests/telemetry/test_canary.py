"""A key and a prompt that sing when they get out: through every fault, in every mode, whole and streamed."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Mapping
from typing import Any

import pytest

from hybrid_infer.calls.call import Mode
from hybrid_infer.errors import HybridInferError
from hybrid_infer.testing import ALL_FAULTS, Simulation
from telemetry.recorded import Measured, Recorded

KEY = "canary-key-4f7a"
PROMPT = "canary-prompt-91c2"

CREDENTIALS: Mapping[Mode, dict[str, Any]] = {
    "together-serverless": {"together_api_key": KEY},
    "together-dedicated": {"together_api_key": KEY},
    "modal": {"modal_key": f"wk-{KEY}", "modal_secret": f"ws-{KEY}"},
    "openai-compatible": {"api_key": KEY},
}


class Cage:
    """Everything that could let a canary out, and what got out of it."""

    def __init__(self) -> None:
        self.spans = Recorded()
        self.meters = Measured()
        self.texts: dict[str, str] = {}

    def hold(self, what: str, text: str) -> None:
        self.texts[what] = text

    def hold_error(self, error: BaseException) -> None:
        """Its text, its repr, its traceback with all that led to it, and what is known of its call."""
        self.hold("error as text", str(error))
        self.hold("error as repr", repr(error))
        self.hold("traceback", "".join(traceback.format_exception(error)))
        self.hold("the call of the error", repr(getattr(error, "hybrid", None)))

    def escaped(self, log: str) -> list[str]:
        self.hold("log", log)
        self.hold("spans", "".join(span.to_json() for span in self.spans.spans))
        self.hold("metrics", repr(self.meters.metrics()))
        canaries = (KEY, PROMPT)
        return [f"{bird} in {what}" for what, text in self.texts.items() for bird in canaries if bird in text]


def play(cage: Cage, simulation: Simulation, mode: Mode, stream: bool, **settings: Any) -> None:
    client = simulation.client(
        mode=mode,
        tracer_provider=cage.spans.provider,
        meter_provider=cage.meters.provider,
        **CREDENTIALS[mode],
        **settings,
    )
    cage.hold("the client", repr(client) + client.describe())
    messages = [{"role": "user", "content": PROMPT}]
    ask: Any = client.chat.completions.create
    with client:
        try:
            reply = ask(messages=messages, stream=stream, timeout=900, extra_headers={"x-own": KEY})
            if stream:
                cage.hold("the stream", repr(reply))
                reply.final()
            cage.hold("the call", repr(reply.hybrid))
        except HybridInferError as error:
            cage.hold_error(error)


@pytest.mark.parametrize("fault", [None, *ALL_FAULTS])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_no_canary_gets_out(fault: str | None, stream: bool, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for mode in CREDENTIALS:
        caplog.clear()
        cage = Cage()
        simulation = Simulation(faults=None if fault is None else ALL_FAULTS[fault])
        play(cage, simulation, mode, stream)
        assert cage.escaped(caplog.text) == [], mode
        assert cage.spans.calls and cage.meters.metrics(), "the cage was looked into"


@pytest.mark.parametrize("fault", ["reset_mid_body", "status_500", "malformed_event_damaged"])
def test_a_restarted_a_hedged_and_a_repeated_call_lets_none_out(
    fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    cage = Cage()
    play(
        cage,
        Simulation(faults=ALL_FAULTS[fault]),
        "together-serverless",
        stream=True,
        on_stream_break="restart",
        hedge=True,
        max_retries=5,
        fallback=["together-dedicated", "modal"],
    )
    assert cage.escaped(caplog.text) == []


def test_the_cage_holds_what_it_should(caplog: pytest.LogCaptureFixture) -> None:
    """A check of the check: a canary in a span, a log or an error would be seen."""
    cage = Cage()
    tracer = cage.spans.provider.get_tracer("chat")
    tracer.start_span("chat", attributes={"a": PROMPT}).end()
    counter = cage.meters.provider.get_meter("m").create_counter("c")
    counter.add(1, {"a": KEY})
    cage.hold_error(ValueError(PROMPT))
    logging.getLogger("hybrid_infer").warning("said %s", PROMPT)
    escaped = cage.escaped(caplog.text)
    for place in ("spans", "metrics", "log", "error as text", "error as repr", "traceback"):
        assert any(place in line for line in escaped)
