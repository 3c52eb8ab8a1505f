"""What goes to Together's control plane, and what does not: the credential, redirects, nonsense."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import together

from endpoints.cloud import Cloud, settled
from hybrid_infer.endpoints.errors import EndpointError, EndpointUnreachableError
from hybrid_infer.endpoints.together import TogetherEndpoint, together_endpoint
from hybrid_infer.endpoints.together_calls import together_client
from hybrid_infer.errors import ConfigurationError
from hybrid_infer.settings import Settings

KEY = "tgp_secret"


def settings(environ: dict[str, str] | None = None, **values: Any) -> Settings:
    return Settings.load(values, environ={"TOGETHER_API_KEY": KEY} if environ is None else environ)


def answering(cloud: Cloud, answer: Callable[[httpx.Request], httpx.Response]) -> TogetherEndpoint:
    """An endpoint whose control plane is a function."""

    def connect() -> Any:
        made = cloud.connect()
        made._client._transport = httpx.MockTransport(answer)
        return made

    return TogetherEndpoint(
        "acme/x", runtime=cloud.runtime, connect=connect, clean=lambda text: text.replace(KEY, "[credential]")
    )


async def made(endpoint: TogetherEndpoint) -> tuple[str, str, bool]:
    """Address, key and whether redirects are followed, of a client that the endpoint makes."""
    client = endpoint._connect()
    try:
        return str(client.base_url), client.api_key, client._client.follow_redirects
    finally:
        await settled(client.close())


async def test_the_key_goes_to_togethers_own_control_plane(colour: str) -> None:
    """Also where inference has a host of its own, and never after a redirect."""
    home = ("https://api.together.ai", KEY, False)
    for environ in ({}, {"TOGETHER_BASE_URL": "https://api-inference.together.ai/v1"}):
        cloud = Cloud(colour)
        configured = settings({"TOGETHER_API_KEY": KEY, **environ})
        endpoint = together_endpoint(configured, "acme/x", runtime=cloud.runtime, blocking=cloud.blocking)
        assert endpoint.name == "together-dedicated/acme/x"
        assert await made(endpoint) == home


async def test_an_address_of_a_models_own_gets_no_control_and_keeps_its_key(colour: str) -> None:
    """Its url serves inference; its own key belongs there, so the control plane is asked with the mode's."""
    cloud = Cloud(colour)
    target = {"model": "acme/x", "url": "https://proxy.example", "api_key": "for-the-proxy"}
    configured = settings(models={"chat": {"together-dedicated": target}})
    endpoint = together_endpoint(configured, "chat", runtime=cloud.runtime, blocking=cloud.blocking)
    assert await made(endpoint) == ("https://api.together.ai", KEY, False)


@pytest.mark.parametrize(
    ("environ", "values", "words"),
    [
        ({}, {}, "set TOGETHER_API_KEY"),
        (None, {"models": {"chat": {"modal": {"model": "llm"}}}}, r"add `together-dedicated = \{ model = "),
    ],
)
def test_what_is_not_configured_is_said(environ: Any, values: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        together_endpoint(settings(environ, **values), "chat", runtime=Cloud("sync").runtime, blocking=True)


def test_without_the_package_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "together", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'hybrid-infer\[together\]'"):
        together_client(base_url="https://api.together.ai", api_key=KEY, blocking=True)


def test_the_package_is_loaded_by_the_first_client_only() -> None:
    code = "import hybrid_infer.endpoints.together, sys; print(*{'together', 'httpx'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/")
    assert done.stdout.strip() == ""


async def test_a_redirect_is_an_error_and_gets_no_key(colour: str) -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.host)
        return httpx.Response(302, headers={"location": "https://elsewhere.example/"})

    cloud = Cloud(colour)
    with pytest.raises(EndpointError, match="302"):
        await answering(cloud, answer).state()
    assert set(asked) == {"api.together.ai"}


async def test_the_key_is_in_no_error(colour: str) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(400, json={"error": {"message": f"bad key {KEY}", "code": "nope"}})

    with pytest.raises(EndpointError, match=r"bad key \[credential\]") as caught:
        await answering(Cloud(colour), answer).state()
    assert KEY not in repr(vars(caught.value))
    assert caught.value.code == "nope"
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("kind", ["text/html", "application/json"])
async def test_what_is_no_answer_is_repeated_and_then_said(colour: str, kind: str) -> None:
    """Success with a page, or with broken JSON: neither is what a package would raise."""
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        return httpx.Response(200, headers={"content-type": kind}, text="<html>Sign in</html>")

    with pytest.raises(EndpointUnreachableError):
        await answering(Cloud(colour), answer).state()
    assert asked == ["/v3/whoami"] * 5


async def test_a_lost_connection_is_repeated(colour: str) -> None:
    """As the package's own error, whatever was underneath."""
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        raise httpx.ConnectError("refused", request=request)

    with pytest.raises(EndpointUnreachableError, match="did not answer") as caught:
        await answering(Cloud(colour), answer).state()
    assert (len(asked), caught.value.status) == (5, None)


async def test_a_mistake_of_our_own_is_not_the_providers(colour: str) -> None:
    """What the package does not raise passes through as it is."""
    cloud = Cloud(colour)

    def connect() -> Any:
        client = cloud.connect()
        client.__dict__["whoami"] = None
        return client

    with pytest.raises(TypeError):
        await TogetherEndpoint("acme/x", runtime=cloud.runtime, connect=connect).state()
    assert issubclass(together.APIError, together.TogetherError)
