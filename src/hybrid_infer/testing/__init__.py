"""For tests of applications: simulated providers with faults, virtual time, and no way to the network."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hybrid_infer.simulator.fault_catalogue import ALL_FAULTS as ALL_FAULTS
    from hybrid_infer.simulator.fault_file import read_faults as read_faults
    from hybrid_infer.simulator.fault_rules import FaultPlan as FaultPlan
    from hybrid_infer.simulator.fault_rules import FaultRule as FaultRule
    from hybrid_infer.simulator.faults import Fault as Fault
    from hybrid_infer.testing.network import NetworkBlock as NetworkBlock
    from hybrid_infer.testing.network import NetworkBlockedError as NetworkBlockedError
    from hybrid_infer.testing.network import block_network as block_network
    from hybrid_infer.testing.simulation import Simulation as Simulation

_HOMES = {
    "simulator.fault_catalogue": ("ALL_FAULTS",),
    "simulator.fault_file": ("read_faults",),
    "simulator.fault_rules": ("FaultPlan", "FaultRule"),
    "simulator.faults": ("Fault",),
    "testing.network": ("NetworkBlock", "NetworkBlockedError", "block_network"),
    "testing.simulation": ("Simulation",),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "ALL_FAULTS",
    "Fault",
    "FaultPlan",
    "FaultRule",
    "NetworkBlock",
    "NetworkBlockedError",
    "Simulation",
    "block_network",
    "read_faults",
]


if not TYPE_CHECKING:  # so that type checkers see the names above and no others

    def __getattr__(name: str) -> object:
        """Loaded when asked for: the pytest plugin is loaded in every run and must cost nothing there."""
        home = _HOME.get(name)
        if home is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f"hybrid_infer.{home}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return __all__
