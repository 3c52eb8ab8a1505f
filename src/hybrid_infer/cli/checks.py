"""What `hybrid-infer doctor` looks at. Nothing here touches the network."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal

from hybrid_infer.calls.call import MODES, Mode
from hybrid_infer.cli.places import Place, current_modes, places
from hybrid_infer.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

    from hybrid_infer.settings import Settings

State = Literal["ok", "missing", "problem"]

EXTRAS: Mapping[str, tuple[str, ...]] = {
    "aiohttp": ("aiohttp",),
    "cli": ("typer", "rich"),
    "modal": ("modal",),
    "redis": ("redis",),
    "schedules": ("cronsim",),
    "schemas": ("jsonschema",),
    "together": ("together",),
}
"""The extras that this version uses, and the modules that each brings."""

CREDENTIALS: Mapping[Mode, tuple[str, ...]] = {
    "together-serverless": ("together_api_key",),
    "together-dedicated": ("together_api_key",),
    "modal": ("modal_key", "modal_secret", "modal_api_key"),
    "openai-compatible": ("api_key",),
}
_OF_A_MODEL = (".api_key", ".key", ".secret")

_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One finding.

    Attributes:
        state: a ``"problem"`` keeps the current mode from working; what is ``"missing"`` may be meant so.
        fix: what to do, where there is something to do.
    """

    subject: str
    state: State
    finding: str
    fix: str | None = None


def python() -> Check:
    """Which Python this is; one that is too old does not get as far as this."""
    version = ".".join(map(str, sys.version_info[:3]))
    return Check(subject="python", state="ok", finding=f"{version} at {sys.executable}")


def extras() -> list[Check]:
    return [_extra(name, modules) for name, modules in EXTRAS.items()]


def _extra(name: str, modules: Sequence[str]) -> Check:
    subject = f"extra {name}"
    if all(find_spec(module) is not None for module in modules):
        return Check(subject=subject, state="ok", finding="installed")
    return Check(
        subject=subject, state="missing", finding="not installed", fix=f'pip install "hybrid-infer[{name}]"'
    )


def settings_checks(config: Path | None) -> tuple[Settings | None, list[Check]]:
    """The settings, if they are valid, and what there is to say about them."""
    from hybrid_infer.settings import Settings

    try:
        settings = Settings.load(config=config)
    except ConfigurationError as error:
        return None, [
            Check(subject="settings", state="problem", finding=problem, fix="correct or remove it")
            for problem in error.problems
        ]
    file = config or os.environ.get("HYBRID_INFER_CONFIG")
    said = f"valid, with the file {file}" if file else "valid, without a file"
    simulate = "on: providers are simulated, no key is needed" if settings.simulate else "off"
    return settings, [
        Check(subject="settings", state="ok", finding=said),
        Check(subject="simulate", state="ok", finding=simulate),
    ]


def mode_checks(settings: Settings, config: Path | None) -> list[Check]:
    """For each mode, the current one first, whether it is configured and has credentials.

    Mode hybrid has a check of its own, before those of its base and its overflow.
    """
    found = places(settings)
    current = current_modes(settings)
    unusable = _unusable(config)
    checks: list[Check] = []
    if settings.mode == "hybrid":
        parts = ", ".join(f"{part} {mode}" for mode, part in current.items())
        checks.append(_hybrid(f"current: {parts}", unusable))
        unusable = None
    for mode in sorted(MODES, key=[*current, *MODES].index):
        of_mode = [place for place in found if place.mode == mode]
        part = current.get(mode)
        checks.append(_mode(mode, settings, of_mode, part, unusable if part is not None else None))
    return checks


def _hybrid(finding: str, unusable: str | None) -> Check:
    if unusable is None:
        return Check(subject="mode hybrid", state="ok", finding=finding)
    return Check(subject="mode hybrid", state="problem", finding=f"{finding}: cannot be used", fix=unusable)


def _mode(
    mode: Mode, settings: Settings, found: Sequence[Place], part: str | None, unusable: str | None
) -> Check:
    """One mode; `part` is what it is to the client, `unusable` why there can be no client."""
    mark = f"{part}: " if part is not None else ""
    subject = f"mode {mode}"
    usable = [place for place in found if place.problem is None]
    if unusable is None and usable:
        where = "; ".join(str(p) if p.model in (None, p.serves) else f"{p.model}: {p}" for p in usable)
        return Check(subject=subject, state="ok", finding=f"{mark}{where}; {_credentials(mode, settings)}")
    fixes = [unusable] if unusable else [place.problem for place in found if place.problem]
    return Check(
        subject=subject,
        state="missing" if part is None else "problem",
        finding="not configured" if part is None else f"{mark}cannot be used",
        fix="; ".join(dict.fromkeys(fixes)),
    )


def _unusable(config: Path | None) -> str | None:
    """Why no client can be made with these settings; None if one can."""
    from hybrid_infer.client import Client

    try:
        Client(config=config, upkeep=False).close()
    except ConfigurationError as error:
        return str(error)
    return None


def _credentials(mode: Mode, settings: Settings) -> str:
    """Which credentials of a mode are set, and by whom. Their values stay where they are."""
    names = CREDENTIALS[mode]
    sources = [
        f"{row.name} from {row.source}"
        for row in settings.explain()
        if row.value == "set"
        and (row.name in names or (f".{mode}." in row.name and row.name.endswith(_OF_A_MODEL)))
    ]
    if sources:
        return f"credentials: {', '.join(sources)}"
    return "no credential" + (
        " needed: simulated" if settings.simulate else ": right for a server that wants none"
    )


def network_checks(environ: Mapping[str, str], settings: Settings | None) -> list[Check]:
    """Proxies and certificates that the environment names. Simulated providers need neither."""
    from hybrid_infer.transport.environment import proxy_for, tls_context

    named = [name for small in _PROXIES for name in (small, small.upper()) if environ.get(name)]
    found = [
        Check(subject=f"proxy {name}", state="ok", finding=_without_password(environ[name])) for name in named
    ]
    trusted = ", ".join(f"{name}={environ[name]}" for name in _CERTIFICATES if environ.get(name))
    origins = (
        []
        if settings is None
        else [p.origin for p in places(settings) if p.mode in current_modes(settings) and p.origin]
    )
    state: State = "missing" if settings is not None and settings.simulate else "problem"
    try:
        tls_context(environ)
        found.append(Check(subject="certificates", state="ok", finding=trusted or "those of certifi"))
        for origin in origins:
            proxy_for(origin, environ)
    except ConfigurationError as error:
        found.append(
            Check(subject="network", state=state, finding=str(error), fix="correct or unset the variable")
        )
    return found


def _without_password(value: str) -> str:
    """A proxy's address, the user and password before the @ left out."""
    before, at, after = value.rpartition("@")
    return f"{before.partition('://')[0]}://…@{after}" if "://" in before else f"…@{after}" if at else value
