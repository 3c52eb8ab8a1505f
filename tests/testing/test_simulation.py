"""Simulation: what an application's tests use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import openai
import pytest

from hybrid_infer import AsyncClient, Client
from hybrid_infer.errors import APIConnectionError, ColdError, ConfigurationError, RateLimitError, UsageError
from hybrid_infer.testing import Fault, Simulation

ASK: Any = [{"role": "user", "content": "Why is the sky blue?"}]
LIMITED = Fault("status", status=429, retry_after=20)


def test_a_blocking_client_meets_the_faults_in_virtual_time() -> None:
    simulation = Simulation(faults=LIMITED.when(on="1-2"))
    with simulation.client(mode="together-serverless") as client:
        reply = client.chat.completions.create(messages=ASK)
    assert isinstance(client, Client)
    assert (reply.choices[0].message.content or "").startswith("(simulated)")
    assert 40 < simulation.now < 60
    assert (simulation.seen().calls, simulation.seen().faulted) == (3, 2)
    assert [(each.counted, each.fired) for each in simulation.fired()] == [(3, 2)]


def test_an_async_client_meets_them_too() -> None:
    simulation = Simulation(faults=LIMITED.when(on="1-2"))

    async def main() -> str:
        async with simulation.async_client(mode="together-serverless") as client:
            assert isinstance(client, AsyncClient)
            reply = await client.chat.completions.create(messages=ASK)
            assert simulation.now > 40
            return reply.choices[0].message.content or ""

    assert simulation.run(main()).startswith("(simulated)")
    assert 40 < simulation.now < 60
    assert simulation.seen().calls == 3


def test_errors_are_those_of_the_provider() -> None:
    simulation = Simulation(faults=LIMITED)
    with simulation.client(max_retries=0) as client, pytest.raises(RateLimitError) as caught:
        client.chat.completions.create(messages=ASK)
    assert caught.value.retry_after == 20


def test_hours_pass_at_once() -> None:
    simulation = Simulation(faults=Fault("silence"))
    with (
        simulation.client(max_retries=0, timeout=7200, attempt_timeout=7200) as client,
        pytest.raises(APIConnectionError),
    ):
        client.chat.completions.create(messages=ASK)
    assert simulation.now == pytest.approx(7200)
    assert (simulation.seen().open, simulation.seen().cancelled) == (0, 1)


def test_threads_share_the_time_and_the_providers() -> None:
    simulation = Simulation(faults=Fault("slow_first_token", seconds=60))
    with simulation.client() as client:

        def call() -> float:
            client.chat.completions.create(messages=ASK)
            return simulation.now

        assert simulation.run_threads(*[call] * 5) == pytest.approx([60] * 5)


def test_clients_share_the_providers_and_faults_may_change_meanwhile() -> None:
    simulation = Simulation(dedicated="stopped")
    impatient = simulation.client(mode="together-dedicated", cold_start_timeout=0, max_retries=0)
    with impatient as one, pytest.raises(ColdError):
        one.chat.completions.create(messages=ASK)
    simulation.use_faults(Fault("refuse"))
    with simulation.client(max_retries=0) as two, pytest.raises(APIConnectionError, match="refused"):
        two.chat.completions.create(messages=ASK)
    assert simulation.seen().of("together-dedicated").calls >= 1
    assert simulation.seen().refused == 1
    assert simulation.invoice().dedicated_requests == simulation.seen().of("together-dedicated").calls


@pytest.mark.real_time
def test_real_time_may_pass_instead() -> None:
    simulation = Simulation(faults=Fault("reset_before_headers", seconds=0.1), virtual_time=False)
    with simulation.client(max_retries=0) as client:

        def call() -> None:
            with pytest.raises(APIConnectionError):
                client.chat.completions.create(messages=ASK)

        assert simulation.run_threads(call, call) == [None, None]

    async def main() -> None:
        async with simulation.async_client(max_retries=0) as client:
            with pytest.raises(APIConnectionError):
                await client.chat.completions.create(messages=ASK)

    simulation.run(main())
    assert 0.2 <= simulation.now < 20


@pytest.mark.real_time
def test_other_clients_find_the_same_providers_behind_an_address() -> None:
    simulation = Simulation(faults=Fault("status", status=503).when(on=1))
    with simulation.serve(speed=20) as variables:
        base = variables["OPENAI_BASE_URL"]
        with openai.OpenAI(base_url=base, api_key="any", max_retries=1) as client:
            whole = client.chat.completions.create(model="Qwen/Qwen3.5-9B", messages=ASK)
    assert whole.choices[0].message.content
    assert simulation.seen().calls == 2


def test_any_simulated_client_takes_faults_from_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an argument or a variable; what is wrong with the file is said when the client is made."""
    path = tmp_path / "faults.toml"
    path.write_text('[[fault]]\nkind = "status"\nstatus = 429\n')
    with Client(simulate=True, simulate_faults=path, max_retries=0) as client, pytest.raises(RateLimitError):
        client.chat.completions.create(messages=ASK)
    monkeypatch.setenv("HYBRID_INFER_SIMULATE", "1")
    monkeypatch.setenv("HYBRID_INFER_SIMULATE_FAULTS", str(path))
    with Client(max_retries=0) as client, pytest.raises(RateLimitError):
        client.chat.completions.create(messages=ASK)
    path.write_text('[[fault]]\nkind = "statis"\n')
    with pytest.raises(ConfigurationError, match=r"faults\.toml: fault 1: .* did you mean status"):
        Client()
    monkeypatch.setenv("HYBRID_INFER_SIMULATE_FAULTS", " ")
    with pytest.raises(ConfigurationError, match="HYBRID_INFER_SIMULATE_FAULTS"):
        Client()


async def _nothing() -> None:
    pass


def test_a_simulation_runs_once() -> None:
    simulation = Simulation()
    simulation.run(_nothing())
    with pytest.raises(UsageError, match="make a new one"):
        simulation.run(_nothing())


def test_wrong_settings_are_said_as_for_a_client() -> None:
    with pytest.raises(ConfigurationError, match="max_retrys"):
        Simulation().client(max_retrys=1)
    with pytest.raises(ConfigurationError, match="did you mean stall"):
        Simulation(faults=Fault("stal"))  # type: ignore[arg-type]  # the mistake
