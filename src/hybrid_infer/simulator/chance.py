"""Chance: everything random in a world, by name, so that one thing's luck does not hang on another's."""

from __future__ import annotations

from datetime import datetime
from random import Random

from hybrid_infer.simulator.together_wire import Stamp


class Chance:
    """Random numbers and stamps of one world.

    Args:
        epoch: the time of day of the world's beginning.
    """

    def __init__(self, seed: int, epoch: datetime) -> None:
        self.seed = seed
        self.epoch = int(epoch.timestamp())
        self._stamps = 0

    def of(self, what: str) -> Random:
        """Random numbers for one thing."""
        return Random(f"{self.seed} {what}")

    def stamp(self, moment: float) -> Stamp:
        """The stamp of the next answer."""
        self._stamps += 1
        chance = self.of(f"stamp {self._stamps}")
        return Stamp(
            id=f"sim{chance.getrandbits(24):06x}-{chance.getrandbits(64):016x}",
            created=self.epoch + int(moment),
            seed=chance.getrandbits(64),
        )
