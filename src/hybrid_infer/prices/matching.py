"""Which lines of a bill are about what the ledger has: by names that are equal, never by similar ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from hybrid_infer.calls.bills import Billed, Recorded

SERVERLESS = "Serverless Inference"
"""How Together's products begin that are paid by tokens (type `BillingUsageLineItem`, together 3.1.1)."""

Place = tuple[str, str]
"""Mode and model."""


def matched(
    lines: Iterable[Billed], recorded: Sequence[Recorded], *, named: Mapping[str, Place] | None = None
) -> tuple[list[Billed], list[Billed]]:
    """Lines that are known to be about a mode and a model, and the others.

    One of Together's is about a model if that is one of the names in it; one of Modal's about the server
    whose address ends in ``--<app>-<name>`` (the longest app counts). A serverless model that the ledger does
    not have keeps its names.

    Args:
        named: what the user says: mode and model by a name in the bill.
    """
    lines = list(lines)
    known = {(one.mode, one.model) for one in recorded}
    apps = _apps(lines, recorded)
    found: list[Billed] = []
    others: list[Billed] = []
    for line in lines:
        places = {place for name, place in (named or {}).items() if name in (*line.names, line.product)}
        if line.mode is not None and line.model is not None:
            places = {(line.mode, line.model)}
        elif not places and line.provider == "modal":
            places = apps.get(line.product, set())
        elif not places:
            serverless = line.product.startswith(SERVERLESS)
            mode = "together-serverless" if serverless else "together-dedicated"
            places = {(mode, name) for name in line.names if (mode, name) in known}
            if not places and serverless:
                places = {(mode, ", ".join(sorted(line.names)) or line.product)}
        if len(places) == 1:
            ((mode, model),) = places
            found.append(replace(line, mode=mode, model=model))
        else:
            others.append(line)
    return found, others


def _apps(lines: Iterable[Billed], recorded: Iterable[Recorded]) -> dict[str, set[Place]]:
    """For each app, which servers of the ledger are its own."""
    names = {line.product for line in lines if line.provider == "modal"}
    found: dict[str, set[Place]] = {}
    for one in recorded:
        if one.mode != "modal" or one.host is None:
            continue
        after = one.host.split(".")[0].partition("--")[2]
        own = [name for name in names if after == name or after.startswith(f"{name}-")]
        if own:
            found.setdefault(max(own, key=len), set()).add((one.mode, one.model))
    return found
