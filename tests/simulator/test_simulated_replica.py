from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_infer.simulator.replica import LARGE, MACHINES, SMALL, Job, Machine, Replica, machine_for

TOKENS = st.integers(1, 20_000)


def run(replica: Replica, job: Job, now: float) -> float:
    """When the job is over."""
    while not job.over:
        now = replica.next_look(job, job.output_tokens)
        replica.advance(now)
    return now


def first_token(replica: Replica, job: Job, now: float) -> float:
    while replica.produced(job) < 1:
        now = replica.next_look(job, 1)
        replica.advance(now)
    return now


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.name)
@given(TOKENS, TOKENS)
def test_a_request_alone_takes_its_iterations_and_its_work(
    machine: Machine, input_tokens: int, output_tokens: int
) -> None:
    replica = Replica(machine, now=3.0)
    ended = run(replica, replica.add(input_tokens, output_tokens, 3.0), 3.0) - 3.0
    iterations = math.ceil(input_tokens / 2048) + output_tokens
    work = machine.alpha * input_tokens + output_tokens * (
        machine.beta + machine.gamma * (input_tokens + output_tokens / 2)
    )
    assert ended == pytest.approx(iterations * machine.tau0 + work, rel=1e-9)
    assert ended == pytest.approx(machine.alone(input_tokens, output_tokens), rel=1e-9)


def test_the_first_token_comes_after_the_iterations_of_the_prompt() -> None:
    replica = Replica(SMALL, now=0.0)
    token = SMALL.tau0 + SMALL.beta + SMALL.gamma * (5000 + 100 / 2)
    prompt = 3 * SMALL.tau0 + SMALL.alpha * 5000
    assert first_token(replica, replica.add(5000, 100, 0.0), 0.0) == pytest.approx(prompt + token)


@pytest.mark.parametrize(
    ("machine", "mean_output", "within"), [(SMALL, 116, 0.05), (LARGE, 116, 0.08), (SMALL, 400, 0.05)]
)
def test_mean_latency_under_poisson_load_is_that_of_processor_sharing(
    machine: Machine, mean_output: int, within: float
) -> None:
    """``E[K]*tau0 / (1 - rho)`` at half load. For 70B it is a little low: all prompts advance together."""
    chance = random.Random(7)
    asked = [(1000, 1 + int(chance.expovariate(1 / mean_output))) for _ in range(8000)]
    mean_iterations = sum(machine.iterations(*tokens) for tokens in asked) / len(asked)
    mean_work = sum(machine.work(*tokens) for tokens in asked) / len(asked)
    replica = Replica(machine, now=0.0, max_batch=len(asked))
    now, latencies = 0.0, list[float]()
    open_jobs: dict[Job, float] = {}

    def departures(until: float) -> None:
        while open_jobs:
            job = next(iter(open_jobs))
            at = replica.next_look(job, job.output_tokens)
            if at > until:
                return
            replica.advance(at)
            for over in [job for job in open_jobs if job.over]:
                latencies.append(at - open_jobs.pop(over))

    for tokens in asked:
        now += chance.expovariate(0.5 / mean_work)
        departures(now)
        open_jobs[replica.add(*tokens, now)] = now
    departures(math.inf)
    expected = mean_iterations * machine.tau0 / (1 - 0.5)
    assert sum(latencies) / len(latencies) == pytest.approx(expected, rel=within)


def test_two_requests_slow_each_other_down_until_one_leaves() -> None:
    replica = Replica(SMALL, now=0.0)
    long, short = replica.add(0, 200, 0.0), replica.add(0, 100, 0.0)
    weights = SMALL.work(0, 200) / 200, SMALL.work(0, 100) / 100
    both, alone = SMALL.tau0 + sum(weights), SMALL.tau0 + weights[0]
    assert run(replica, short, 0.0) == pytest.approx(100 * both)
    assert run(replica, long, 100 * both) == pytest.approx(100 * both + 100 * alone)


def test_requests_above_the_batch_wait_their_turn() -> None:
    replica = Replica(SMALL, now=0.0, max_batch=2)
    first, second, third = replica.add(10, 50, 0.0), replica.add(10, 100, 0.0), replica.add(10, 10, 0.0)
    assert replica.load == 3
    left = run(replica, first, 0.0)
    assert replica.produced(third) == 0
    assert run(replica, third, left) > left
    assert not second.over


def test_a_context_that_does_not_fit_waits_until_there_is_room() -> None:
    replica = Replica(SMALL, now=0.0)
    large = [replica.add(300_000, 10, 0.0) for _ in range(3)]
    fourth = replica.add(300_000, 10, 0.0)
    left = run(replica, large[0], 0.0)
    assert replica.produced(fourth) == 0
    assert run(replica, fourth, left) > left


def test_a_cancelled_request_makes_room_at_once() -> None:
    replica = Replica(SMALL, now=0.0, max_batch=1)
    running, waiting = replica.add(10, 10_000, 0.0), replica.add(10, 10, 0.0)
    replica.drop(running, 1.0)
    assert run(replica, waiting, 1.0) == pytest.approx(1.0 + SMALL.alone(10, 10))
    assert replica.load == 0


@given(
    st.lists(
        st.tuples(st.sampled_from(["add", "drop", "wait"]), st.integers(0, 5), st.floats(0, 2)), max_size=40
    )
)
def test_nothing_is_lost_and_no_token_taken_back(steps: list[tuple[str, int, float]]) -> None:
    """Under any arrivals and cancellations every job ends, tokens only grow, and busy time fits into time."""
    replica = Replica(SMALL, now=0.0, max_batch=3)
    now, jobs, seen = 0.0, list[Job](), dict[Job, int]()
    for what, index, passed in steps:
        now += passed
        if what == "add":
            jobs.append(replica.add(1000 * index, 20 + index, now))
        elif what == "drop" and index < len(jobs):
            replica.drop(jobs[index], now)
        replica.advance(now)
        for job in jobs:
            assert replica.produced(job) >= seen.get(job, 0)
            seen[job] = replica.produced(job)
    for job in jobs:
        now = max(now, run(replica, job, now))
    assert replica.load == 0
    assert all(replica.produced(job) == job.output_tokens for job in jobs)
    assert 0 <= replica.busy <= now + 1e-9
    fresh = replica.add(5, 5, now)
    assert run(replica, fresh, now) == pytest.approx(now + SMALL.alone(5, 5))


@pytest.mark.parametrize(
    ("model", "machine"),
    [
        ("llm", SMALL),
        ("Qwen/Qwen3.5-9B", SMALL),
        ("meta-llama/Llama-3.3-70B-Instruct-Turbo", LARGE),
        ("openai/gpt-oss-120b", LARGE),
        ("mistral-large", LARGE),
    ],
)
def test_the_name_of_a_model_decides_about_its_machine(model: str, machine: Machine) -> None:
    assert machine_for(model) is machine
