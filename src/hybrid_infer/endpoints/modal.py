"""Machines on Modal, as the settings name them: functions and classes, servers, shared endpoints."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Protocol, TypeAlias

from hybrid_infer.calls.functions import function_name
from hybrid_infer.endpoints.modal_autoscaler import (
    ACCOUNT_HINT,
    Autoscaler,
    Connect,
    Container,
    ScaledName,
    scaled_name,
    server_name,
)
from hybrid_infer.endpoints.modal_function import MODE, ModalFunctionEndpoint, Pricing, Probe
from hybrid_infer.endpoints.modal_server import Ask, ModalServerEndpoint, SharedEndpoint
from hybrid_infer.endpoints.state import HourlyPrice
from hybrid_infer.errors import ConfigurationError
from hybrid_infer.prices.chosen import price_book
from hybrid_infer.prices.rates import Offer
from hybrid_infer.runtime.base import Runtime
from hybrid_infer.settings import ModelTarget, Settings, reveal

ModalEndpoint: TypeAlias = ModalFunctionEndpoint | ModalServerEndpoint | SharedEndpoint

_NO_TARGET: Final = ModelTarget()


class Knocks(Ask, Protocol):
    """An `Ask` that knows whether what it asks is a shared endpoint."""

    @property
    def shared(self) -> bool: ...


def modal_endpoint(
    settings: Settings,
    name: str,
    *,
    runtime: Runtime,
    blocking: bool,
    knock: Knocks | None = None,
    connect: Callable[[ScaledName], Autoscaler] | None = None,
    probe: Probe | None = None,
    environ: Mapping[str, str] = os.environ,
) -> ModalEndpoint:
    """The machine of logical model `name` in mode modal, or of a function ``"app/function"``.

    Args:
        blocking: the colour of `runtime`; Modal's package is called alike from both.
        knock: asks the address of a server: `backends.knock.Knock` of its connection. Functions need none.
        connect: in the place of Modal's own package, for a simulated provider.
        probe: of a function; see `ModalFunctionEndpoint`.

    Raises:
        ConfigurationError: the model has no machine on Modal.
        InvalidCallError: `function` or `server` is no such name.
    """
    del blocking
    entry = settings.models.get(name)
    target = None if entry is None else entry.target(MODE)
    if entry is not None and target is None:
        raise ConfigurationError(
            f'model "{name}" has no machine on Modal: add `{MODE} = {{ url = … }}` or '
            f'`{MODE} = {{ function = "app/function" }}` to [models.{name}]'
        )
    logical = name if entry is not None else None
    function = target.function if target is not None else (None if knock is not None else name)
    target = target or _NO_TARGET

    def made(of: ScaledName) -> Connect:
        return lambda: _package(settings, of, runtime) if connect is None else connect(of)

    if function is not None:
        scaled = scaled_name(function_name(function))
        title = f"{MODE}/{target.model or function}"
        return ModalFunctionEndpoint(
            title,
            runtime=runtime,
            connect=made(scaled),
            pricing=_pricing(settings, target, title, target.model or function, logical),
            probe=probe,
        )
    if knock is None:
        raise ConfigurationError(f"the server of {MODE}/{name} is asked at its address: give knock=")
    title = f"{MODE}/{target.model or name}"
    if knock.shared:
        return SharedEndpoint(title, runtime=runtime)
    reachable, lacks = _reachable(settings, target, name, connect is not None, environ)
    return ModalServerEndpoint(
        title,
        runtime=runtime,
        ask=knock,
        pricing=_pricing(settings, target, title, target.model, logical),
        connect=made(server_name(target.server)) if target.server is not None and reachable else None,
        lacks=lacks,
        window=settings.modal_scaledown_window,
    )


def _package(settings: Settings, name: ScaledName, runtime: Runtime) -> Autoscaler:
    from hybrid_infer.endpoints.modal_package import PackageAutoscaler

    id, secret = settings.modal_token_id, settings.modal_token_secret
    token = None if id is None or secret is None else lambda: (reveal(id), reveal(secret))
    return PackageAutoscaler(name, runtime=runtime, token=token, connect_timeout=settings.connect_timeout)


def _reachable(
    settings: Settings, target: ModelTarget, name: str, simulated: bool, environ: Mapping[str, str]
) -> tuple[bool, str]:
    """Whether there is a name and a token for the autoscaler; and what to set where there is not."""
    told = simulated or _has_token(settings, environ)
    lacks: list[str] = []
    if target.server is None:
        lacks.append(
            f'name the deployed server: `{MODE} = {{ server = "app/Server", … }}` in [models.{name}]'
        )
    if not told:
        lacks.append(ACCOUNT_HINT)
    return not lacks, "; ".join(lacks)


def _has_token(settings: Settings, environ: Mapping[str, str]) -> bool:
    """Whether Modal's package has, or may have, an account token. A proxy token is none."""
    if settings.modal_token_id is not None and settings.modal_token_secret is not None:
        return True
    if environ.get("MODAL_IS_REMOTE") == "1":
        return True
    return Path(environ.get("MODAL_CONFIG_PATH") or "~/.modal.toml").expanduser().exists()


def _pricing(
    settings: Settings, target: ModelTarget, where: str, model: str | None, logical: str | None
) -> Pricing:
    """What one container costs: by what Modal says that it asks for, else by the settings of the model.

    Regions are priced by the settings' own factor, since Modal has changed theirs several times.
    """

    def price(told: Container | None) -> HourlyPrice | None:
        known = told is not None and told.gpu is not None
        offer = Offer(
            name=where,
            mode=MODE,
            model=model,
            basis="machine-time",
            gpu=told.gpu if told is not None and known else target.gpu,
            gpus=told.gpus if told is not None and known else target.gpus,
            cpu=(told.cpu if told is not None else None) or target.cpu,
            memory=(told.memory if told is not None else None) or target.memory,
            priced_as=target.priced_as,
            logical=logical,
        )
        fixed = told is not None and told.nonpreemptible
        book = price_book(settings.model_copy(update={"modal_nonpreemptible": True}) if fixed else settings)
        machine = book.rate(offer).machine
        if machine is None:
            return None
        doubts = [machine.excludes] if machine.excludes else []
        if told is not None and told.regions and settings.modal_region_multiplier == 1:
            doubts.append("no factor for its region: set modal_region_multiplier")
        source = "; ".join([machine.source, *doubts])
        return HourlyPrice(nano=machine.nano_per_hour, source=source)

    return price
