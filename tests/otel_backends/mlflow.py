"""MLflow: takes the cost it is given, under its own name for it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from otel_backends.backend import HOST, Told, free_port, get, post, serve


class MLflow:
    """Its tracking server and its API, as of mlflow 3.17."""

    name = "MLflow"
    prices_itself = False

    def __init__(self, venv: Path) -> None:
        self._command = venv / "bin" / "mlflow"
        self._port = free_port()
        self._at = f"http://{HOST}:{self._port}"
        self._experiment = ""

    def start(self, work: Path) -> subprocess.Popen[bytes]:
        command = [str(self._command), "server", "--host", HOST, "--port", str(self._port), "--workers", "1"]
        command += ["--backend-store-uri", f"sqlite:///{work}/mlflow.db"]
        command += ["--artifacts-destination", str(work / "artifacts")]
        environ = {
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "DO_NOT_TRACK": "true",
        }
        return serve(command, work / "server.log", environ)

    def ready(self) -> bool:
        return httpx.get(f"{self._at}/health", timeout=2, trust_env=False).status_code == 200

    def traces(self) -> tuple[str, Mapping[str, str]]:
        made = post(f"{self._at}/api/2.0/mlflow/experiments/create", {"name": "calls"})
        self._experiment = made["experiment_id"]
        return f"{self._at}/v1/traces", {"x-mlflow-experiment-id": self._experiment}

    def told(self) -> dict[str, Told]:
        place = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": self._experiment}}
        answer = post(f"{self._at}/api/3.0/mlflow/traces/search", {"locations": [place], "max_results": 100})
        found = [self._trace(info["trace_id"]) for info in answer.get("traces", [])]
        return {told.session: told for told in found if told.session is not None}

    def _trace(self, trace: str) -> Told:
        answer = get(f"{self._at}/api/3.0/mlflow/traces/get", trace_id=trace)["trace"]
        info, spans = answer["trace_info"], answer["spans"]
        (call,) = [span for span in spans if span["name"] != "POST"]
        said = {attribute["key"]: _plain(attribute["value"]) for attribute in call["attributes"]}
        kept = info["trace_metadata"]
        tokens = json.loads(kept.get("mlflow.trace.tokenUsage", "{}"))
        cost = json.loads(kept.get("mlflow.trace.cost", "{}"))
        return Told(
            model=_text(said.get("mlflow.llm.model")),
            provider=_text(said.get("mlflow.llm.provider")),
            failed=info["state"] == "ERROR",
            session=kept.get("mlflow.trace.session"),
            input_tokens=tokens.get("input_tokens"),
            output_tokens=tokens.get("output_tokens"),
            cost=cost.get("total_cost"),
            own_cost=None,
            asked=str(info.get("request_preview")),
            answered=str(info.get("response_preview")),
            below=len(spans) - 1,
        )


def _plain(value: dict[str, Any]) -> Any:
    return next(iter(value.values()), None)


def _text(value: Any) -> str | None:
    """MLflow keeps texts of its own as JSON."""
    if not isinstance(value, str) or not value:
        return None
    return str(json.loads(value)) if value.startswith('"') else value
