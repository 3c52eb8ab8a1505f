"""Arize Phoenix: reads tokens, model, messages and session, and prices tokens by its own table."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from otel_backends.backend import HOST, Told, free_port, get, post, serve

PROJECT = "default"
COSTS = """
{ projects { edges { node { name spans(first: 1000) { edges { node {
    spanId costSummary { total { cost } }
} } } } } } }
"""


class Phoenix:
    """Its server and its API, as of arize-phoenix 20.26."""

    name = "Phoenix"
    prices_itself = True

    def __init__(self, venv: Path) -> None:
        self._command = venv / "bin" / "phoenix"
        self._port, self._grpc = free_port(), free_port()
        self._at = f"http://{HOST}:{self._port}"

    def start(self, work: Path) -> subprocess.Popen[bytes]:
        environ = {
            "PHOENIX_WORKING_DIR": str(work),
            "PHOENIX_HOST": HOST,
            "PHOENIX_PORT": str(self._port),
            "PHOENIX_GRPC_PORT": str(self._grpc),
            "PHOENIX_TELEMETRY_ENABLED": "false",
        }
        return serve([str(self._command), "serve"], work / "server.log", environ)

    def ready(self) -> bool:
        return httpx.get(f"{self._at}/healthz", timeout=2, trust_env=False).status_code == 200

    def traces(self) -> tuple[str, Mapping[str, str]]:
        return f"{self._at}/v1/traces", {}

    def told(self) -> dict[str, Told]:
        spans = get(f"{self._at}/v1/projects/{PROJECT}/spans", limit=1000)["data"]
        priced = self._priced()
        found: dict[str, Told] = {}
        for span in spans:
            said = span["attributes"]
            if "session.id" not in said:
                continue
            own = span["context"]["span_id"]
            found[said["session.id"]] = Told(
                model=said.get("llm.model_name"),
                provider=said.get("llm.system"),
                failed=span["status_code"] == "ERROR",
                session=said["session.id"],
                input_tokens=said.get("llm.token_count.prompt"),
                output_tokens=said.get("llm.token_count.completion"),
                cost=said.get("hybrid_infer.cost.amount"),
                own_cost=priced.get(own),
                asked=str(said.get("llm.input_messages.0.message.content")),
                answered=str(said.get("llm.output_messages.0.message.content")),
                below=sum(other["parent_id"] == own for other in spans),
            )
        return found

    def _priced(self) -> dict[str, float]:
        answer: Any = post(f"{self._at}/graphql", {"query": COSTS})
        return {
            span["node"]["spanId"]: cost
            for project in answer["data"]["projects"]["edges"]
            for span in project["node"]["spans"]["edges"]
            if (cost := ((span["node"]["costSummary"] or {}).get("total") or {}).get("cost")) is not None
        }
