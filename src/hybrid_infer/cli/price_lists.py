"""Where lists of prices are fetched from: Together over HTTP, Modal through its package, genai-prices."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from hybrid_infer.errors import (
    APIConnectionError,
    APIResponseError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    ConfigurationError,
)

if TYPE_CHECKING:
    from hybrid_infer.prices.compare import Quote
    from hybrid_infer.prices.live import Fetch, LiveList
    from hybrid_infer.settings import Settings

TIMEOUT = 30.0


def together(settings: Settings, *, environ: Mapping[str, str] = os.environ) -> Fetch:
    """Gets paths from Together, with Together's key.

    The key goes to the address it was set for and, since redirects are not followed, nowhere else.

    Raises:
        ConfigurationError: there is no key.
    """
    import httpx

    from hybrid_infer.backends.together import OTHER_URL
    from hybrid_infer.settings import reveal
    from hybrid_infer.transport.environment import tls_context

    secret = settings.together_api_key
    if secret is None:
        raise ConfigurationError("Together's lists need a key: set TOGETHER_API_KEY")
    address = settings.together_base_url or OTHER_URL
    verify = tls_context(environ) if address.startswith("https:") else False
    headers = {"authorization": f"Bearer {reveal(secret)}", "accept": "application/json"}

    def fetch(path: str) -> object:
        try:
            with httpx.Client(verify=verify, follow_redirects=False, timeout=TIMEOUT) as client:
                response = client.get(address + path, headers=headers)
        except httpx.TimeoutException:
            raise APITimeoutError(f"no answer within {TIMEOUT:g} s", where=address + path) from None
        except httpx.HTTPError as error:
            raise APIConnectionError(str(error) or type(error).__name__, where=address + path) from None
        if response.status_code in (401, 403):
            raise AuthenticationError(
                "the key is not accepted",
                where=address + path,
                status=response.status_code,
                hint="set TOGETHER_API_KEY to a key from https://api.together.ai/settings/api-keys",
            )
        if response.status_code != 200:
            raise APIStatusError("not answered", where=address + path, status=response.status_code)
        try:
            return response.json()
        except ValueError:
            raise APIResponseError("the answer is not JSON", where=address + path) from None

    return fetch


def modal(settings: Settings, now: datetime) -> LiveList | None:
    """Modal's rates through the `modal` package, with its own credentials; None where it is not installed.

    Raises:
        APIConnectionError: it could not get them.
    """
    from hybrid_infer.prices.live import modal_rates
    from hybrid_infer.settings import reveal

    package = _installed("modal")
    if package is None:
        return None
    try:
        client = None
        if settings.modal_token_id is not None and settings.modal_token_secret is not None:
            token = reveal(settings.modal_token_id), reveal(settings.modal_token_secret)
            client = package.Client.from_credentials(*token)
        rates = package.Workspace.from_context(client=client).billing.rates()
    except Exception as error:  # the package's own errors, of whatever kind
        raise APIConnectionError(
            f"{type(error).__name__}: {error}",
            where="the modal package",
            hint="run `modal token new`, or set MODAL_TOKEN_ID and MODAL_TOKEN_SECRET",
        ) from None
    return modal_rates(rates, now)


def genai_prices(models: Iterable[str]) -> Iterator[tuple[str, str, Quote]]:
    """What the package genai-prices says of these models of Together; nothing where it is not installed.

    For comparison alone: it does not date its prices, and keeps models that are gone.
    """
    from importlib.metadata import version

    from hybrid_infer.prices.compare import Quote

    package = _installed("genai_prices")
    if package is None:
        return
    origin = f"genai-prices {version('genai-prices')}"
    million = 1_000_000
    for model in models:
        amounts: dict[str, int] = {}
        for kind, usage in (
            ("input", package.Usage(input_tokens=million, output_tokens=0)),
            ("output", package.Usage(input_tokens=0, output_tokens=million)),
        ):
            try:
                found = package.calc_price(usage, model, provider_id="together")
            except LookupError:
                break
            amounts[kind] = int(found.total_price.scaleb(9))
        if amounts:
            quote = Quote(origin=origin, source=origin, as_of=None, amounts=amounts)
            yield "together-serverless", model, quote


def _installed(package: str) -> Any:
    """The package, or None."""
    from importlib import import_module

    try:
        return import_module(package)
    except ImportError:
        return None
