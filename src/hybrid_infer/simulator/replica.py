"""Replica: one copy of a model on its GPUs, as a dedicated endpoint or a Modal container runs it.

All requests of a batch advance together, one iteration at a time, and an iteration takes ``tau0 + sum(w_j)``
seconds over the requests in it. A request with I input and O output tokens needs ``K = ceil(I/2048) + O``
iterations and ``W = alpha*I + O*(beta + gamma*(I + O/2))`` seconds of work of its own: ``alpha*I`` spread
over the iterations of its prompt, the rest over those of its tokens. Its first token comes with the first
iteration after those of its prompt. Alone it takes ``K*tau0 + W``.

Source of the form: OCI's published sweep of Llama-3.3-70B from 1 to 128 concurrent requests, which is
linear in the batch (R2 0.99996). Rows: alpha, beta and gamma fitted to NVIDIA's TensorRT-LLM performance
overview v1.0 (commit 00f37686; ten input/output lengths); ``tau0 = weights / (0.75 * memory bandwidth) +
3 ms`` is an assumption that gives OCI's measured 16.9 ms for 70B on two H100.
"""

from __future__ import annotations

import bisect
import math
from collections import deque
from dataclasses import dataclass

from hybrid_infer.simulator.exchange import Work

PREFILL_CHUNK = 2048
"""Prompt tokens of one iteration (the usual size of chunked prefill, as in the fit)."""

MAX_BATCH = 256
"""Requests in one batch: vLLM's default `max_num_seqs` on these GPUs."""

_LOOK_AGAIN = 1.0
_ROUNDING = 1e-6
"""Of an iteration: a token that is due at the very moment of a poll counts, whatever floats make of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A replica's figures.

    Attributes:
        alpha: seconds of work per input token.
        beta: seconds of work per output token.
        gamma: seconds of work per output token and token of context.
        tau0: seconds of an iteration with nobody in it.
        kv_tokens: tokens of context that fit in the memory of the GPUs.
    """

    name: str
    gpu: str
    gpus: int
    alpha: float
    beta: float
    gamma: float
    tau0: float
    kv_tokens: int

    def prefill(self, input_tokens: int) -> int:
        """Iterations before the first token's own."""
        return math.ceil(input_tokens / PREFILL_CHUNK)

    def iterations(self, input_tokens: int, output_tokens: int) -> int:
        """K."""
        return self.prefill(input_tokens) + output_tokens

    def work(self, input_tokens: int, output_tokens: int) -> float:
        """W, in seconds."""
        context = input_tokens + output_tokens / 2
        return self.alpha * input_tokens + output_tokens * (self.beta + self.gamma * context)

    def alone(self, input_tokens: int, output_tokens: int) -> float:
        """Seconds for a request that has the machine to itself."""
        return self.iterations(input_tokens, output_tokens) * self.tau0 + self.work(
            input_tokens, output_tokens
        )


SMALL = Machine(
    name="8B FP8, 1x H100", gpu="H100", gpus=1,
    alpha=13.8e-6, beta=11.5e-6, gamma=20.4e-9, tau0=6.2e-3, kv_tokens=916_000,
)  # fmt: skip
SMALL_H200 = Machine(
    name="8B FP8, 1x H200", gpu="H200", gpus=1,
    alpha=14.2e-6, beta=13.9e-6, gamma=15.8e-9, tau0=5.2e-3, kv_tokens=1_753_000,
)  # fmt: skip
LARGE = Machine(
    name="70B FP8, 2x H100", gpu="H100", gpus=2,
    alpha=67.5e-6, beta=66.5e-6, gamma=28.7e-9, tau0=16.9e-3, kv_tokens=403_000,
)  # fmt: skip
LARGE_H200 = Machine(
    name="70B FP8, 1x H200", gpu="H200", gpus=1,
    alpha=119.0e-6, beta=105.6e-6, gamma=26.2e-9, tau0=22.4e-3, kv_tokens=323_000,
)  # fmt: skip
MACHINES = (SMALL, SMALL_H200, LARGE, LARGE_H200)


def is_large(model: str) -> bool:
    """Whether a model's name says that it is of the 70B class; all others count as 8B."""
    name = model.lower()
    return any(word in name for word in ("70b", "120b", "large"))


def machine_for(model: str) -> Machine:
    """The machine that runs a model of this name."""
    return LARGE if is_large(model) else SMALL


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineUse:
    """What a machine has been used for.

    Attributes:
        seconds: what is billed.
        busy_seconds: of these, the ones with at least one request.
    """

    name: str
    requests: int
    seconds: float
    busy_seconds: float


@dataclass(slots=True, eq=False)
class Job:
    """One request on a replica.

    Attributes:
        weight, later_weight: its `w_j` in the iterations of its prompt, and in those of its tokens.
        end: the replica's progress, in iterations, at which it is complete.
    """

    input_tokens: int
    output_tokens: int
    prefill: int
    iterations: int
    weight: float
    later_weight: float
    end: float | None = None
    over: bool = False

    @property
    def turn(self) -> float:
        """The replica's progress at which its prompt has been read."""
        return _end(self) - self.output_tokens


class Replica:
    """Advances its jobs exactly: between an arrival and the next departure the speed does not change.

    Args:
        now: when it begins to run.
        max_batch: requests in one batch; more wait in a queue, first come, first served. So do requests whose
            context does not fit in the memory that is left.

    Attributes:
        busy: seconds with at least one request.
        idle_since: when the last request left, or was last known to be wanted; meaningful while idle.
    """

    def __init__(self, machine: Machine, *, now: float, max_batch: int = MAX_BATCH) -> None:
        self.machine = machine
        self.busy = 0.0
        self.idle_since = now
        self._max_batch = max_batch
        self._now = now
        self._progress = 0.0
        self._tau = machine.tau0
        self._active: list[Job] = []  # by `end`
        self._reading: list[Job] = []  # of these, the ones whose prompt is being read, by `turn`
        self._queue: deque[Job] = deque()
        self._kv = 0

    @property
    def load(self) -> int:
        """Requests running and queued."""
        return len(self._active) + len(self._queue)

    def add(self, input_tokens: int, output_tokens: int, now: float) -> Job:
        """Take a request, into the batch or the queue."""
        self.advance(now)
        machine = self.machine
        prefill, reading = machine.prefill(input_tokens), machine.alpha * input_tokens
        job = Job(
            input_tokens,
            output_tokens,
            prefill,
            machine.iterations(input_tokens, output_tokens),
            reading / max(1, prefill),
            (machine.work(input_tokens, output_tokens) - reading) / output_tokens,
        )
        self._queue.append(job)
        self._admit()
        return job

    def drop(self, job: Job, now: float) -> None:
        """Stop working on a request; harmless when it is over."""
        self.advance(now)
        if job.over:
            return
        job.over = True
        if job.end is None:
            self._queue.remove(job)
        else:
            self._active.remove(job)
            if job in self._reading:
                self._reading.remove(job)
            self._kv -= job.input_tokens + job.output_tokens
        self._admit()

    def advance(self, now: float) -> None:
        """Move to `now`; a time before the present does nothing."""
        while self._active:
            change = self._change()
            at = self._time_of(change)
            if at > now:
                break
            self._move(at, change)
            while self._reading and self._reading[0].turn <= self._progress:
                self._reading.pop(0)
            while self._active and _end(self._active[0]) <= self._progress:
                done = self._active.pop(0)
                done.over = True
                self._kv -= done.input_tokens + done.output_tokens
            self._admit()
        if now > self._now:
            self._move(
                now, self._progress + (now - self._now) / self._tau if self._active else self._progress
            )

    def produced(self, job: Job) -> int:
        """Tokens that are out."""
        if job.over:
            return job.output_tokens
        if job.end is None:
            return 0
        done = self._progress - (job.end - job.iterations) - job.prefill
        return min(max(0, math.floor(done + _ROUNDING)), job.output_tokens - 1)

    def next_look(self, job: Job, count: int) -> float:
        """When `job` has `count` tokens, or the batch changes on its way there, whichever is first.

        A queued job looks once a second too: the departure of a cancelled request cannot be foreseen.
        """
        change = self._time_of(self._change()) if self._active else self._now
        if job.end is None:
            return min(change, self._now + _LOOK_AGAIN)
        return min(change, self._time_of(job.end - job.output_tokens + count))

    def _change(self) -> float:
        """The progress at which the speed changes next, if nobody comes."""
        end = _end(self._active[0])
        return min(end, self._reading[0].turn) if self._reading else end

    def _time_of(self, progress: float) -> float:
        """When the replica will have made this progress, if nobody comes or goes."""
        return self._now + max(0.0, progress - self._progress) * self._tau

    def _move(self, now: float, progress: float) -> None:
        if self._active:
            self.busy += now - self._now
        self._now, self._progress = now, progress

    def _admit(self) -> None:
        """Fill the batch from the queue, and find the new speed."""
        while self._queue and len(self._active) < self._max_batch:
            job = self._queue[0]
            kv = self._kv + job.input_tokens + job.output_tokens
            if self._active and kv > self.machine.kv_tokens:
                break
            self._queue.popleft()
            job.end = self._progress + job.iterations
            bisect.insort(self._active, job, key=_end)
            if job.prefill:
                bisect.insort(self._reading, job, key=_turn)
            self._kv = kv
        reading = {id(job) for job in self._reading}
        self._tau = self.machine.tau0 + math.fsum(
            job.weight if id(job) in reading else job.later_weight for job in self._active
        )
        if not self._active:
            self.idle_since, self._progress = self._now, 0.0


def _turn(job: Job) -> float:
    return job.turn


def _end(job: Job) -> float:
    assert job.end is not None  # noqa: S101 - jobs of the batch have one
    return job.end


class ReplicaWork(Work):
    """One request on a replica, as its exchange sees it."""

    def __init__(self, replica: Replica, input_tokens: int, output_tokens: int, now: float) -> None:
        self._replica = replica
        self._job = replica.add(input_tokens, output_tokens, now)

    def produced(self, now: float) -> int:
        self._replica.advance(now)
        return self._replica.produced(self._job)

    def next_look(self, count: int) -> float:
        return self._replica.next_look(self._job, count)

    def cancel(self, now: float) -> None:
        self._replica.drop(self._job, now)
