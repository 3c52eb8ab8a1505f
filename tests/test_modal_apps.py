"""What is deployed on Modal for the examples is what they call, as far as Modal's package tells offline."""

from __future__ import annotations

import http.server
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from example_files import FOLDER, loaded
from hybrid_infer import Client, Settings
from hybrid_infer.simulator.functions import FunctionRegistry
from hybrid_infer.simulator.grpc_door import ModalDoor

# The package reads its file when it is imported; nobody's own is to be read here.
os.environ.setdefault("MODAL_CONFIG_PATH", "/nonexistent")
modal: Any = pytest.importorskip("modal")


@pytest.fixture
def detector() -> Any:
    return loaded("modal_apps/detector")


@pytest.fixture
def server() -> Any:
    return loaded("modal_apps/llm_server")


def test_every_function_that_the_example_calls_is_in_the_app(detector: Any) -> None:
    example = loaded("object_detection")
    for name in (example.DETECT, example.LOADED):
        app, _, rest = name.partition("/")
        tag, _, method = rest.partition(".")
        assert app == detector.app.name
        found = getattr(detector, tag)
        if method:
            assert isinstance(found, modal.Cls)
            found = getattr(found(), method)
        assert isinstance(found, modal.Function)
    assert isinstance(detector.detect_each, modal.Function)


def test_the_detector_answers_in_the_shape_that_the_example_reads(detector: Any) -> None:
    seen = {"score": 0.9, "label": "dog", "box": {"xmin": 16, "ymin": 30, "xmax": 80, "ymax": 60}}
    answer = detector.boxes([seen], 160, 120)
    found = loaded("object_detection").checked(answer)
    assert [(one.label, one.score, one.box) for one in found] == [("dog", 0.9, (0.1, 0.25, 0.5, 0.5))]


def test_the_server_is_at_the_address_and_of_the_name_that_the_file_of_models_says(server: Any) -> None:
    target = Settings.load(config=FOLDER / "models.toml").models["assistant"].target("modal")
    assert isinstance(server.Server, modal.server.Server)
    assert target is not None
    assert target.url is not None and f"--{server.app.name}-server." in target.url
    assert target.model == server.SERVED_AS
    assert f"--served-model-name={target.model}" in server.command()


class Healthy(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/health" else 404)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture
def health() -> Iterator[str]:
    """An engine's address of health."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Healthy) as engine:
        thread = threading.Thread(target=engine.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{engine.server_port}/health"
        engine.shutdown()
        thread.join()


@pytest.mark.real_time
def test_a_container_is_ready_when_its_engine_is_and_given_up_when_it_ends(server: Any, health: str) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as engine:
        server.until_healthy(health, engine, 5)
        with pytest.raises(RuntimeError, match="did not answer"):
            server.until_healthy("http://127.0.0.1:9/health", engine, 0.1)
        engine.communicate(b"\n")
    with pytest.raises(RuntimeError, match="ended with code 0"):
        server.until_healthy(health, engine, 5)


@pytest.mark.real_time
def test_the_example_calls_through_modals_package_as_it_does_in_the_simulator(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    example = loaded("object_detection")
    token = ("ak-0123456789", "as-9876543210")
    pictures = sorted((FOLDER / "pictures").glob("*.png"))
    with ModalDoor(FunctionRegistry(), token=token) as door:
        monkeypatch.setenv("MODAL_SERVER_URL", door.url)
        monkeypatch.setenv("MODAL_TOKEN_ID", token[0])
        monkeypatch.setenv("MODAL_TOKEN_SECRET", token[1])
        with Client(mode="modal", model=example.DETECT, config=FOLDER / "models.toml") as client:
            one = example.detect(client, pictures[0])
            every = example.detect_all(client, pictures)
            assert (
                example.fetch(client, pictures[0], example.hand_over(client, pictures[0]))
                == every[pictures[0]]
            )
    assert one == [found for found in every[pictures[0]] if found.score >= 0.6]
    assert "cost unknown" not in capsys.readouterr().out
