"""The modes: for each, how a model of the configuration becomes a place to send to.

A new mode is a backend in this folder, a price table and a line in `REGISTRY`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import SecretStr

from hybrid_infer.backends.base import Secret, address_of
from hybrid_infer.backends.compatible import CompatibleBackend
from hybrid_infer.backends.modal import ModalBackend, is_shared_gateway
from hybrid_infer.backends.openai_wire import OpenAIBackend
from hybrid_infer.backends.together import CHAT_URL, OTHER_URL, TogetherBackend
from hybrid_infer.calls.call import Basis, Mode
from hybrid_infer.errors import ConfigurationError
from hybrid_infer.settings import ModelTarget, Settings, reveal
from hybrid_infer.settings import Secret as SecretSetting
from hybrid_infer.transport.base import Origin

if TYPE_CHECKING:
    from hybrid_infer.calls.functions import FunctionName


_SIMULATED = SecretStr("simulated-credential")


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """Where a model is reached in a mode, in whose words, and how that is paid.

    Attributes:
        elsewhere: where all that is not chat goes, if that is another place.
        function: the Modal function that answers, in place of a server.
    """

    backend: OpenAIBackend
    origin: Origin
    provider: str
    model: str | None
    basis: Basis
    elsewhere: Origin | None = None
    function: FunctionName | None = None
    priced_as: str | None = None
    gpu: str | None = None
    gpus: int = 1
    cpu: float | None = None
    memory: float | None = None


def connect(mode: Mode, settings: Settings, name: str | None) -> Connection:
    """The connection for logical model `name`, or for the provider's own model of that name.

    Raises:
        ConfigurationError: something is not configured; says by which variables it would be.
    """
    entry = settings.models.get(name) if name is not None else None
    if entry is None:
        return REGISTRY[mode](settings, ModelTarget(model=name), name)
    target = entry.target(mode)
    if target is None:
        variable = f"HYBRID_INFER_MODELS__{name}__{mode}".upper().replace("-", "_").replace(".", "_")
        raise ConfigurationError(
            f'model "{name}" has no entry for mode {mode}: '
            f"add `{mode} = …` to [models.{name}], or set {variable} to the model's name there"
        )
    return REGISTRY[mode](settings, target, name)


def _together(
    settings: Settings, target: ModelTarget, name: str | None, *, basis: Basis, mode: Mode
) -> Connection:
    base = target.url or settings.together_base_url
    key = target.api_key
    if key is None and _at_home(target.url, settings.together_base_url, TOGETHER_DOMAINS):
        key = settings.together_api_key
    if key is None and not settings.simulate:
        raise ConfigurationError(
            f"mode {mode} needs Together's API key: set TOGETHER_API_KEY, or give api_key= to the client "
            "(HYBRID_INFER_SIMULATE=1 works without)"
            if target.url is None
            else f"{target.url} is not Together's own address, so TOGETHER_API_KEY is not sent there: "
            f"give [models.{name}] its own api_key for {mode}"
        )
    chat, other = address_of(base or CHAT_URL), address_of(base or OTHER_URL)
    return Connection(
        backend=TogetherBackend(chat=chat, other=other, api_key=_secret(key)),
        origin=chat.origin,
        provider="together",
        model=target.model,
        basis=basis,
        elsewhere=None if other.origin == chat.origin else other.origin,
        priced_as=target.priced_as,
        gpu=target.gpu,
        gpus=target.gpus,
    )


def _serverless(settings: Settings, target: ModelTarget, name: str | None) -> Connection:
    return _together(settings, target, name, basis="tokens", mode="together-serverless")


def _dedicated(settings: Settings, target: ModelTarget, name: str | None) -> Connection:
    return _together(settings, target, name, basis="machine-time", mode="together-dedicated")


def function_connection(settings: Settings, reference: str) -> Connection:
    """The connection for a Modal function: by the name of a configured model that is one, or by its own.

    Raises:
        ConfigurationError, InvalidCallError: it is neither.
    """
    entry = settings.models.get(reference)
    target = entry.target("modal") if entry is not None else None
    if target is None:
        return _function(ModelTarget(), reference)
    if target.function is None:
        raise ConfigurationError(
            f'model "{reference}" is no Modal function: set `modal = {{ function = "app/function" }}` in '
            f"[models.{reference}], or name the function itself"
        )
    return _function(target, target.function)


def _function(target: ModelTarget, reference: str) -> Connection:
    from hybrid_infer.calls.functions import function_name

    function = function_name(reference)
    return Connection(
        backend=CompatibleBackend(address=address_of(MODAL_API)),
        origin=address_of(MODAL_API).origin,
        provider="modal",
        model=target.model or str(function),
        basis="machine-time",
        function=function,
        gpu=target.gpu,
        gpus=target.gpus,
        cpu=target.cpu,
        memory=target.memory,
    )


def _modal(settings: Settings, target: ModelTarget, name: str | None) -> Connection:
    if target.function is not None:
        return _function(target, target.function)
    url = target.url or settings.modal_url or (SIMULATED_MODAL_URL if settings.simulate else None)
    if url is None:
        raise ConfigurationError(
            "mode modal needs the address of your server: set HYBRID_INFER_MODAL_URL="
            "https://<workspace>--<app>-<server>.<region>.modal.direct"
            + (f", or `modal = {{ url = … }}` in [models.{name}]" if name in settings.models else "")
        )
    address = address_of(url)
    key, secret, api_key = target.key, target.secret, target.api_key
    if _at_home(target.url, settings.modal_url, MODAL_DOMAINS):
        if key is None and secret is None:
            key, secret = settings.modal_key, settings.modal_secret
        api_key = api_key or settings.modal_api_key
    if settings.simulate and key is None and api_key is None:
        key = secret = _SIMULATED
    return Connection(
        backend=ModalBackend(
            address=address,
            key=_secret(key) if key is not None else None,
            secret=_secret(secret) if secret is not None else None,
            api_key=_secret(api_key) if api_key is not None else None,
        ),
        origin=address.origin,
        provider="modal",
        model=target.model,
        basis="tokens" if is_shared_gateway(address) else "machine-time",
        priced_as=target.priced_as,
        gpu=target.gpu,
        gpus=target.gpus,
        cpu=target.cpu,
        memory=target.memory,
    )


def _compatible(settings: Settings, target: ModelTarget, name: str | None) -> Connection:
    url = target.url or settings.base_url or (SIMULATED_COMPATIBLE_URL if settings.simulate else None)
    if url is None:
        raise ConfigurationError(
            "mode openai-compatible needs the address of your server: set HYBRID_INFER_BASE_URL, "
            "e.g. http://localhost:11434 for Ollama, or give base_url= to the client"
        )
    address = address_of(url)
    key = target.api_key
    if key is None and _at_home(target.url, settings.base_url, ()):
        key = settings.api_key
    return Connection(
        backend=CompatibleBackend(address=address, api_key=_secret(key) if key is not None else None),
        origin=address.origin,
        provider="openai",
        model=target.model,
        basis="unknown",
        priced_as=target.priced_as,
        gpu=target.gpu,
        gpus=target.gpus,
    )


ACCOUNTS: tuple[Mode, ...] = ("together-serverless", "together-dedicated")
"""Modes that keep files, batches and the list of models beside the models, with the account."""

TOGETHER_DOMAINS = (".together.ai", ".together.xyz")
MODAL_DOMAINS = (".modal.direct", ".modal.run")
MODAL_API = "https://api.modal.com"
"""Where Modal's own package sends calls of functions (1.6.4), unless MODAL_SERVER_URL says otherwise."""

SIMULATED_MODAL_URL = "https://simulated--llm.us-east.modal.direct"
SIMULATED_COMPATIBLE_URL = "http://simulated.localhost"

REGISTRY: Mapping[Mode, Callable[[Settings, ModelTarget, str | None], Connection]] = {
    "together-serverless": _serverless,
    "together-dedicated": _dedicated,
    "modal": _modal,
    "openai-compatible": _compatible,
}


def _at_home(url: str | None, home: str | None, domains: tuple[str, ...]) -> bool:
    """Whether a mode's own credential may go to a model's own `url`: only to where it belongs.

    That is the address it was set with, or the provider's own domains.
    """
    if url is None:
        return True
    origin = address_of(url).origin
    if home is not None and origin == address_of(home).origin:
        return True
    return origin.scheme == "https" and any(origin.host.endswith(domain) for domain in domains)


def _secret(secret: SecretSetting | None) -> Secret:
    """The credential as backends take it: a function is asked at each request, so that it can be rotated."""
    secret = _SIMULATED if secret is None else secret
    return reveal(secret) if isinstance(secret, SecretStr) else lambda: reveal(secret)
