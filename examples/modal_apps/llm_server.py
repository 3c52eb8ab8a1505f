"""A server for the other examples: vLLM on Modal, with OpenAI's interface.

    pip install modal && modal setup
    modal deploy llm_server.py
    modal workspace proxy-tokens create        # prints the two halves: wk-… and ws-…

    export HYBRID_INFER_MODE=modal HYBRID_INFER_MODAL_URL=https://<workspace>--llm-server.us-east.modal.direct
    export HYBRID_INFER_MODAL_KEY=wk-… HYBRID_INFER_MODAL_SECRET=ws-…
    python ../code_completion.py

Nothing runs, and nothing is paid, until the first request. Modal answers that one with 503 and starts a
container, which is why the first call of an application takes as long as the model takes to load. The client
waits for it (`cold_start_timeout`).
"""

from __future__ import annotations

import subprocess
import time
import urllib.error
import urllib.request

import modal

MODEL = "Qwen/Qwen2.5-Coder-7B-Instruct"
SERVED_AS = "llm"
PORT = 8000
MINUTE = 60
STARTS_WITHIN = 15 * MINUTE
"""The first start loads the weights into the volume, which takes minutes; later ones read them from there."""

app = modal.App("llm")

image = (
    modal.Image.debian_slim(python_version="3.12")
    .uv_pip_install("vllm==0.11.2")
    .env({"HF_HOME": "/weights", "VLLM_CACHE_ROOT": "/weights/vllm"})
)
weights = modal.Volume.from_name("llm-weights", create_if_missing=True)


@app.server(
    name="server",
    image=image,
    gpu="L40S",
    volumes={"/weights": weights},
    port=PORT,
    routing_region="us-east",
    unauthenticated=False,  # requests need a proxy token: without one anybody could spend your money
    startup_timeout=STARTS_WITHIN,  # the default, 30 s, is too short for a model
    min_containers=0,
    max_containers=2,
    target_concurrency=32,  # above it another container starts
    scaledown_window=2 * MINUTE,  # idle seconds are paid; a shorter window means more cold starts
    exit_grace_period=30,
)
class Server:
    @modal.enter()
    def start(self) -> None:
        self.engine = subprocess.Popen(command())  # noqa: S603 - written below, by nobody else
        until_healthy(f"http://127.0.0.1:{PORT}/health", self.engine, STARTS_WITHIN)

    @modal.exit()
    def stop(self) -> None:
        self.engine.terminate()


def command() -> list[str]:
    """What runs in the container."""
    options = {"served-model-name": SERVED_AS, "port": PORT, "max-model-len": 32768}
    return ["vllm", "serve", MODEL, *(f"--{name}={value}" for name, value in options.items())]


def until_healthy(url: str, engine: subprocess.Popen[bytes], seconds: float) -> None:
    """Return when the engine answers. Modal sends requests as soon as this method has returned.

    Raises:
        RuntimeError: it has ended, or did not answer in time; the container is then given up.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if engine.poll() is not None:
            raise RuntimeError(f"vLLM ended with code {engine.returncode}; its output says why")
        try:
            with urllib.request.urlopen(url, timeout=5):  # noqa: S310 - in this container
                return
        except (urllib.error.URLError, TimeoutError):
            time.sleep(1)
    raise RuntimeError(f"vLLM did not answer within {seconds:.0f} s")
