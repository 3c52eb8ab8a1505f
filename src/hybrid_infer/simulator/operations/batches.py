"""``/v1/batches``: many chats at once, later, at Together for half the price. Pure.

The answers are those that chat gives. They are made when somebody looks after the end; no machine, of an
endpoint or of an engine, is kept busy by them.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from pydantic_core import from_json, to_json

from hybrid_infer.simulator import engine_wire, together_wire
from hybrid_infer.simulator.answers import answer
from hybrid_infer.simulator.ask import NotAcceptedError, read
from hybrid_infer.simulator.chance import Chance
from hybrid_infer.simulator.exchange import Request, Response
from hybrid_infer.simulator.operations import rooms
from hybrid_infer.simulator.operations.batch_job import (
    Answered,
    BatchJob,
    Line,
    as_jsonl,
    lines_of,
    window_of,
)
from hybrid_infer.simulator.operations.files import FileStore, page, reply
from hybrid_infer.simulator.operations.made import Posted
from hybrid_infer.simulator.together_wire import output_tokens
from hybrid_infer.simulator.units import Units

CHAT = "/v1/chat/completions"
_ENGINE_ENDPOINTS = (CHAT, "/v1/completions", "/v1/embeddings")
_TOGETHER_ENDPOINTS = (CHAT, "/v1/audio/transcriptions", "/v1/audio/translations")
_TOGETHER_STATES = {
    "validating": "VALIDATING",
    "in_progress": "IN_PROGRESS",
    "completed": "COMPLETED",
    "failed": "FAILED",
    "expired": "EXPIRED",
    "cancelling": "CANCELLED",
    "cancelled": "CANCELLED",
}
_PAGE = 20

Bill = Callable[[str, Units], None]


class Batches:
    """The batches of one account.

    Args:
        model: what is served where a line names no model; None refuses such lines.
        bill: what is told the tokens of each answered line.
    """

    def __init__(
        self, chance: Chance, files: FileStore, *, together: bool, model: str | None, bill: Bill | None
    ) -> None:
        self._chance = chance
        self._files = files
        self._together = together
        self._model = model
        self._bill = bill
        self._jobs: dict[str, BatchJob] = {}

    def receive(self, posted: Posted, parts: tuple[str, ...], now: float) -> Response | None:
        """Answer what is asked at the path below ``/v1/batches``; None for what is no such path."""
        method = posted.request.method
        if method == "POST" and not parts:
            job = self._create(posted, now)
            return reply(posted, {"job": self._shown(job, now)} if self._together else self._shown(job, now))
        if method == "GET" and not parts:
            rows = [self._shown(job, now) for job in reversed(self._jobs.values())]
            return reply(posted, rows if self._together else page(rows, posted.request, _PAGE))
        if method == "GET" and len(parts) == 1:
            return reply(posted, self._shown(self._get(parts[0]), now))
        if method == "POST" and parts[1:] == ("cancel",):
            job = self._get(parts[0])
            if job.state(now) not in ("validating", "in_progress"):
                raise NotAcceptedError(f"The batch {job.id} is over.", param="id", status=409)
            job.cancelled = now
            self.settle(now)
            return reply(posted, self._shown(job, now))
        return None

    def settle(self, now: float) -> None:
        """Write the files of the batches that have come to their end."""
        for job in self._jobs.values():
            if job.results is None and now >= job.ends:
                job.results = [self._answered(line, job) for line in job.lines[: job.done(job.ends)]]
                self._write(job)

    def _create(self, posted: Posted, now: float) -> BatchJob:
        id = posted.needed("input_file_id")
        endpoint = posted.choice(
            "endpoint", _TOGETHER_ENDPOINTS if self._together else _ENGINE_ENDPOINTS, ""
        ) or posted.needed("endpoint")
        if "/audio/" in endpoint:
            raise NotAcceptedError("Batches of audio are not simulated.", param="endpoint")
        data = self._files.data(id)
        if self._together and self._files.get(id).purpose != "batch-api":
            raise NotAcceptedError('The file was not uploaded for "batch-api".', param="input_file_id")
        window = posted.text("completion_window") or "24h"
        lines = lines_of(data)
        problem = None if lines else "The file has no lines."
        broken = [line for line in lines if line.problem is not None]
        if broken and not self._together:  # OpenAI refuses the whole file
            problem = f"Line {broken[0].number}: {broken[0].problem}"
        chance = self._chance.of(f"batch {self._together} {len(self._jobs) + 1}")
        number = f"{chance.getrandbits(128):032x}"
        job = BatchJob(
            id=f"{number[:8]}-{number[8:12]}-{number[12:16]}-{number[16:20]}-{number[20:]}"
            if self._together
            else f"batch_{number}",
            endpoint=endpoint,
            input_file_id=id,
            input_bytes=len(data),
            model=posted.text("model_id") if self._together else None,
            window_text=window,
            created=now,
            window=window_of(window),
            lines=lines,
            problem=problem,
            slow=not self._together,
            metadata=posted.fields.get("metadata"),
        )
        self._jobs[job.id] = job
        return job

    def _get(self, id: str) -> BatchJob:
        job = self._jobs.get(id)
        if job is None:
            raise NotAcceptedError(f"No such batch: {id}", param="id", code="not_found", status=404)
        return job

    def _answered(self, line: Line, job: BatchJob) -> Answered:
        if line.problem is not None:
            return Answered(line=line, status=400, code="invalid_request", message=line.problem)
        body = {**line.body, "stream": False}
        if job.model is not None:
            body["model"] = job.model
        try:
            return self._answer(line, body, job)
        except NotAcceptedError as error:
            return Answered(
                line=line, status=error.status, code=error.code or "invalid_request", message=error.message
            )

    def _answer(self, line: Line, body: dict[str, Any], job: BatchJob) -> Answered:
        stamp = self._chance.stamp(job.ends)
        model = body.get("model") or self._model
        if not isinstance(model, str):
            raise NotAcceptedError('"model" is missing.', param="model", code="missing_required_parameter")
        if job.endpoint != CHAT:
            request = Request(method="POST", path=job.endpoint, headers={}, body=to_json(body))
            made = rooms.made_of(
                request, mode="openai-compatible", stamp=stamp, model=model, seed=self._chance.seed
            )
            if made is None:
                raise NotAcceptedError(f"There is no {job.endpoint}.", status=404)
            return Answered(line=line, body=from_json(made.pieces[-1][1]), input_tokens=made.input_tokens)
        ask = read(to_json(body))
        choices = answer(ask, self._chance.seed)
        response = (
            together_wire.answered(ask, model, choices, None, stamp, ())
            if self._together
            else engine_wire.answered(ask, model, choices, None, stamp)
        )
        made_tokens = output_tokens(choices)
        if self._bill is not None:
            self._bill(model, Units(unit="batch input tokens", quantity=ask.input_tokens))
            self._bill(model, Units(unit="batch output tokens", quantity=made_tokens))
        return Answered(
            line=line,
            body=from_json(response.pieces[-1][1]),
            input_tokens=ask.input_tokens,
            output_tokens=made_tokens,
        )

    def _write(self, job: BatchJob) -> None:
        results = job.results or []
        good = [self._row(job, result) for result in results if result.message is None]
        bad = [self._row(job, result) for result in results if result.message is not None]
        if job.state(job.ends) == "expired" and not self._together:
            bad += [
                self._row(job, Answered(line=line, status=0, code="batch_expired", message="Too late."))
                for line in job.lines[job.done(job.ends) :]
            ]
        created = self._created(job.ends)
        purpose = "batch-api" if self._together else "batch_output"
        for kind, rows in (("output", good), ("error", bad)):
            if rows:
                name = f"{job.id}_{kind}.jsonl"
                job.files[kind] = self._files.keep(name, purpose, as_jsonl(rows), created).id

    def _row(self, job: BatchJob, result: Answered) -> dict[str, Any]:
        id = result.line.custom_id
        failure = {"message": result.message, "code": result.code}
        if self._together:
            if result.message is not None:
                return {"custom_id": id, "error": failure}
            return {"custom_id": id, "response": {"status_code": 200, "body": result.body}}
        row: dict[str, Any] = {"id": f"batch_req_{job.id[6:]}_{result.line.number}", "custom_id": id}
        if result.status == 0:
            return {**row, "response": None, "error": failure}
        body = result.body if result.message is None else {"error": failure}
        response = {"status_code": result.status, "request_id": row["id"], "body": body}
        return {**row, "response": response, "error": None}

    def _shown(self, job: BatchJob, now: float) -> dict[str, Any]:
        return self._at_together(job, now) if self._together else self._at_openai(job, now)

    def _at_together(self, job: BatchJob, now: float) -> dict[str, Any]:
        over = now >= job.ends
        done = job.done(now)
        return {
            "id": job.id,
            "user_id": "simulated",
            "input_file_id": job.input_file_id,
            "file_size_bytes": job.input_bytes,
            "status": _TOGETHER_STATES[job.state(now)],
            "job_deadline": self._iso(job.deadline),
            "created_at": self._iso(job.created),
            "endpoint": job.endpoint,
            "progress": round(100.0 * done / max(1, len(job.lines)), 2),
            "model_id": job.model or next((str(line.body.get("model")) for line in job.lines), None),
            "output_file_id": job.files.get("output"),
            "error_file_id": job.files.get("error"),
            "error": job.problem if over else None,
            "completed_at": self._iso(job.ends) if over else None,
        }

    def _at_openai(self, job: BatchJob, now: float) -> dict[str, Any]:
        state = job.state(now)
        results = job.results or []
        failed = sum(result.message is not None for result in results)
        ended = self._created(job.ends)
        errors: dict[str, Any] | None = None
        if state == "failed":
            row = {"code": "invalid_file", "line": None, "message": job.problem, "param": None}
            errors = {"object": "list", "data": [row]}
        return {
            "id": job.id,
            "object": "batch",
            "endpoint": job.endpoint,
            "errors": errors,
            "input_file_id": job.input_file_id,
            "completion_window": job.window_text,
            "status": state,
            "output_file_id": job.files.get("output"),
            "error_file_id": job.files.get("error"),
            "created_at": self._created(job.created),
            "in_progress_at": self._created(job.begins) if now >= job.begins and not errors else None,
            "expires_at": self._created(job.deadline),
            "finalizing_at": ended if state == "completed" else None,
            "completed_at": ended if state == "completed" else None,
            "failed_at": ended if state == "failed" else None,
            "expired_at": ended if state == "expired" else None,
            "cancelling_at": None if job.cancelled is None else self._created(job.cancelled),
            "cancelled_at": ended if state == "cancelled" else None,
            "request_counts": {
                "total": len(job.lines),
                "completed": job.done(now) - failed,
                "failed": failed,
            },
            "metadata": job.metadata,
        }

    def _created(self, moment: float) -> int:
        return self._chance.epoch + int(moment)

    def _iso(self, moment: float) -> str:
        return datetime.fromtimestamp(self._created(moment), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
