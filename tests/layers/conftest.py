"""What the tests of layers share."""

from __future__ import annotations

import pytest

from layers.bench import Bench


@pytest.fixture
def bench(colour: str) -> Bench:
    return Bench(colour)
