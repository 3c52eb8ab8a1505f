"""What a simulator behind HTTP says of itself, and how it is changed: the paths below ``/simulator/``."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from hybrid_infer.errors import ConfigurationError
from hybrid_infer.simulator.connection import Whole
from hybrid_infer.simulator.exchange import Request
from hybrid_infer.simulator.fault_file import plan_of, table_of
from hybrid_infer.simulator.shapes import field_of, is_object
from hybrid_infer.simulator.world import World

_ROOT = "/simulator/"


class WorldControl:
    """Shows and changes a world.

    Args:
        now: the carrier's time of the world.
        changed: called after the faults were changed.
    """

    def __init__(self, world: World, now: Callable[[], float], changed: Callable[[], None]) -> None:
        self._world = world
        self._now = now
        self._changed = changed

    def __call__(self, request: Request) -> Whole | None:
        path = request.path.partition("?")[0]
        if not path.startswith(_ROOT):
            return None
        place = request.method, path.removeprefix(_ROOT)
        if place == ("GET", "state"):
            return _json(self._state())
        if place == ("POST", "dedicated"):
            return self._dedicated(request.body)
        if place == ("GET", "faults"):
            return _json(self._faults())
        if place == ("POST", "faults"):
            return self._use_faults(request.body)
        message = "there is GET /simulator/state, POST /simulator/dedicated, GET and POST /simulator/faults"
        return _json({"error": {"message": message}}, status=404)

    def _state(self) -> dict[str, Any]:
        world, now = self._world, self._now()
        return {
            "machines": asdict(world.machines(now)),
            "invoice": asdict(world.invoice(now)),
            "seen": asdict(world.seen(now)),
        }

    def _faults(self) -> dict[str, Any]:
        """The plan as it can be sent back, and how often each rule was asked and fired."""
        fired = [{"counted": each.counted, "fired": each.fired} for each in self._world.fired()]
        return {**table_of(self._world.faults), "fired": fired}

    def _dedicated(self, body: bytes) -> Whole:
        world = self._world
        changes = {
            "ready": world.ready_dedicated,
            "stopped": world.stop_dedicated,
            "starting": world.start_dedicated,
        }
        wanted = field_of(_read(body), "state")
        change = changes.get(wanted) if isinstance(wanted, str) else None
        if change is None:
            message = 'send {"state": "ready"}, "stopped" or "starting"'
            return _json({"error": {"message": message}}, status=400)
        change(self._now())
        return _json(self._state())

    def _use_faults(self, body: bytes) -> Whole:
        table = _read(body)
        if is_object(table):
            table.pop("fired", None)  # what GET shows may be sent back
        try:
            plan = plan_of(table, where="faults")
        except ConfigurationError as error:
            shown = {"message": str(error), "problems": list(error.problems)}
            return _json({"error": shown}, status=400)
        self._world.use_faults(plan)
        self._changed()
        return _json(self._faults())


def _read(body: bytes) -> object:
    try:
        read: object = json.loads(body)
    except ValueError:
        return None
    return read


def _json(value: object, *, status: int = 200) -> Whole:
    body = json.dumps(value).encode()
    return Whole(status=status, headers=(("content-type", "application/json"),), body=body)
