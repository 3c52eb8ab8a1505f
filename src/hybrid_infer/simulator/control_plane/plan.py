"""ControlPlan: how Together's control plane behaves, and what goes wrong in it on purpose. Data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Right = Literal["read", "write"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlPlan:
    """The account behind the control plane. What the machines themselves do is in `EndpointPlan`.

    Attributes:
        project: id of the project of the API key; None is a key of an organisation, which has no project.
        slug: the project's name in ``<slug>/<endpoint>``; None takes it from the names of the endpoints.
        found: the endpoints that are known by name exist; else the account begins with none, and requests to
            an endpoint that nobody made are 404.
        gpu_quota: GPUs that all deployments together may want at most; more is 429 (docs, 2026-10).
        forbidden: what the key may not do: 403.
        lag: seconds for which a read may show what was before a write. A list of none, a deployment that does
            not say it was scaled, an etag that is no longer the current one.
        conflicts: so many of the first writes that carry an etag are 409 all the same, as if somebody else
            had written in between.
        inactive_timeout: whether that field is known; it was not at the launch in July 2026 (400).
        mask_needed: an empty split without ``updateMask`` is 400 ``no fields to update`` (a skills file of
            Together, 2026-08).
        failing: so many of the first requests are 503.
    """

    project: str | None = "proj_simulated"
    slug: str | None = None
    found: bool = True
    gpu_quota: int = 64
    forbidden: frozenset[Right] = frozenset()
    lag: float = 0.0
    conflicts: int = 0
    inactive_timeout: bool = True
    mask_needed: bool = False
    failing: int = 0
