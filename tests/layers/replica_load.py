"""A simulated replica under Poisson load behind an Admission, event by event and without a client."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field

from hybrid_infer.calls.money import Usage
from hybrid_infer.layers.limits.admission import Admission, Ticket
from hybrid_infer.layers.limits.policy import LimitPolicy
from hybrid_infer.simulator.replica import Job, Machine, Replica

THETA = 3.0
MARGIN = 0.25
"""How much slower than theta an answer may be and still be good: around a mean slowdown of theta every second
answer is a little slower than theta."""


@dataclass(frozen=True, kw_only=True)
class Mix:
    """Requests of exponentially distributed lengths, with these means."""

    machine: Machine
    input_tokens: int
    output_tokens: int

    def draw(self, chance: random.Random) -> tuple[int, int]:
        return (
            max(1, round(chance.expovariate(1 / self.input_tokens))),
            1 + int(chance.expovariate(1 / (self.output_tokens - 1))),
        )

    def means(self) -> tuple[float, float]:
        """E[K] and E[W]."""
        chance = random.Random(0)
        sample = [self.draw(chance) for _ in range(20_000)]
        machine = self.machine
        return (
            sum(machine.iterations(*tokens) for tokens in sample) / len(sample),
            sum(machine.work(*tokens) for tokens in sample) / len(sample),
        )

    @property
    def right_limit(self) -> float:
        """``L = (theta - 1) * tau0 * E[K] / E[W]``: in flight at a mean slowdown of theta."""
        iterations, work = self.means()
        return (THETA - 1) * self.machine.tau0 * iterations / work


@dataclass(kw_only=True)
class Seen:
    """What was measured, after the warm-up.

    Attributes:
        goodput: answers a second whose time on the machine was at most ``theta * K * tau0 * (1 + MARGIN)``.
        in_flight: the mean over time.
    """

    goodput: float = 0.0
    in_flight: float = 0.0
    answers: float = 0.0
    limits: list[int] = field(default_factory=list[int])


@dataclass(kw_only=True)
class Load:
    """Poisson arrivals, `offered` times the machine's capacity, for `seconds`; the second half counts."""

    mix: Mix
    offered: float
    seconds: float
    seed: int = 1

    def run(self, policy: LimitPolicy) -> Seen:
        chance = random.Random(self.seed)
        mix, machine = self.mix, self.mix.machine
        rate = self.offered / mix.means()[1]
        admission = Admission(policy)
        replica = Replica(machine, now=0.0, max_batch=100_000)
        wanted: dict[Ticket, tuple[int, int]] = {}
        running: dict[Job, Ticket] = {}
        seen, measured = Seen(), self.seconds / 2
        now, arrival = 0.0, chance.expovariate(rate)

        def admitted(ticket: Ticket) -> None:
            running[replica.add(*wanted[ticket], now)] = ticket

        while True:
            change = math.inf
            if running:
                job = next(iter(running))
                change = replica.next_look(job, job.output_tokens)
            at = min(change, arrival)
            if at > self.seconds:
                break
            seen.in_flight += len(running) * max(0.0, at - max(now, measured))
            now = at
            if change <= arrival:
                replica.advance(now)
                for job in [job for job in running if job.over]:
                    ticket = running.pop(job)
                    del wanted[ticket]
                    began = ticket.began or 0.0
                    usage = Usage(input_tokens=job.input_tokens, output_tokens=job.output_tokens)
                    if admission.leave(ticket, now):
                        admission.learn(ticket, now, "answered", usage)
                    if now > measured:
                        seen.answers += 1
                        most = THETA * machine.tau0 * job.iterations * (1 + MARGIN)
                        seen.goodput += now - began <= most
                        seen.limits.append(admission.limit or 0)
            else:
                arrival = now + chance.expovariate(rate)
                tokens = mix.draw(chance)
                ticket = Ticket(prompt=float(tokens[0]))
                wanted[ticket] = tokens
                refusal = admission.arrive(ticket, now)
                assert refusal is None
                if ticket.began is not None:
                    admitted(ticket)
            while (next_one := admission.admit(now)) is not None:
                admitted(next_one)
        for name in ("goodput", "in_flight", "answers"):
            setattr(seen, name, getattr(seen, name) / (self.seconds - measured))
        return seen
