"""Files, batches and videos: what outlives the request that made it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hybrid_infer.calls.call import Mode
from hybrid_infer.simulator.exchange import Request
from hybrid_infer.simulator.world import Provider, World
from simulator.operated import MODES, bare, form, in_mode, posted
from simulator.simulated import SERVERLESS, Got, ask

SERVERLESS_MODE, DEDICATED_MODE, MODAL_MODE, PLAIN_MODE = MODES
KEEPING = [SERVERLESS_MODE, PLAIN_MODE]
BY_KEEPER = pytest.mark.parametrize("mode", KEEPING, ids=["together", "engine"])
PURPOSES = {"together-serverless": "batch-api", "openai-compatible": "batch"}
CHAT = "/v1/chat/completions"

Keeper = tuple[Provider, Mode, str]


def lines(*texts: str, model: str | None = SERVERLESS) -> bytes:
    """One chat a line."""
    rows: list[dict[str, Any]] = []
    for index, text in enumerate(texts):
        body: dict[str, Any] = {"messages": [{"role": "user", "content": text}]}
        body |= {} if model is None else {"model": model}
        rows.append({"custom_id": f"row-{index}", "method": "POST", "url": CHAT, "body": body})
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


class Store:
    """A world with the files and batches of one mode."""

    def __init__(self, mode: Keeper) -> None:
        self.world = World()
        self.mode = mode
        self.together = mode[0] == "together"

    def send(self, request: Request, now: float = 0.0) -> Got:
        return ask(self.world, self.mode[0], request, now, mode=self.mode[1])

    def upload(self, data: bytes, now: float = 0.0) -> str:
        request = form("/v1/files", data, filename="in.jsonl", purpose=PURPOSES[self.mode[1]])
        id: str = self.send(request, now).json["id"]
        return id

    def start(self, data: bytes, now: float = 0.0, **fields: Any) -> Any:
        fields = {"input_file_id": self.upload(data, now), "endpoint": CHAT, **fields}
        got = self.send(posted("/v1/batches", **fields), now)
        assert got.status == 200, got.json
        return got.json["job"] if self.together else got.json

    def look(self, id: str, now: float) -> Any:
        return self.send(bare("GET", f"/v1/batches/{id}"), now).json

    def rows(self, id: str, now: float) -> list[Any]:
        body = self.send(bare("GET", f"/v1/files/{id}/content"), now).body
        return [json.loads(line) for line in body.splitlines()]


@BY_KEEPER
def test_a_file_is_kept_shown_listed_and_deleted(mode: Keeper) -> None:
    store = Store(mode)
    id = store.upload(b'{"a": 1}\n')
    shown = store.send(bare("GET", f"/v1/files/{id}")).json
    assert (shown["id"], shown["object"], shown["bytes"]) == (id, "file", 9)
    assert (shown["filename"], shown["purpose"]) == ("in.jsonl", PURPOSES[mode[1]])
    assert shown["FileType" if store.together else "status"] in ("jsonl", "processed")
    assert store.send(bare("GET", f"/v1/files/{id}/content")).body == b'{"a": 1}\n'
    assert store.send(bare("GET", "/v1/files")).json["data"] == [shown]
    gone = store.send(bare("DELETE", f"/v1/files/{id}")).json
    assert (gone["id"], gone["deleted"]) == (id, True)
    for method, path in (("GET", f"/{id}"), ("GET", f"/{id}/content"), ("DELETE", f"/{id}")):
        assert store.send(bare(method, f"/v1/files{path}")).status == 404
    assert store.send(bare("GET", "/v1/files")).json["data"] == []


def test_together_says_where_to_put_a_file_and_takes_it_there_without_a_key() -> None:
    store = Store(SERVERLESS_MODE)
    asked = store.send(form("/v1/files", purpose="batch-api", file_name="a.jsonl", file_type="jsonl"))
    address, id = asked.header("location") or "", asked.header("x-together-file-id") or ""
    assert asked.status == 302
    assert address.startswith("https://api.together.ai/")
    path = address.removeprefix("https://api.together.ai")
    early = store.send(bare("POST", f"/v1/files/{id}/preprocess"))
    forged = Request(method="PUT", path=path[:-1], headers={}, body=b"x")
    put = Request(method="PUT", path=path, headers={}, body=lines("Hello"))
    assert (early.status, store.send(forged).status, store.send(put).status) == (400, 401, 200)
    done = store.send(bare("POST", f"/v1/files/{id}/preprocess")).json
    assert (done["id"], done["LineCount"], done["processing_status"]) == (id, 1, "COMPLETED")


def test_modal_keeps_no_files_and_runs_no_batches() -> None:
    for path in ("/v1/files", "/v1/batches"):
        assert in_mode(MODAL_MODE, bare("GET", path)).status == 404


def test_lists_of_an_engine_have_pages() -> None:
    store = Store(PLAIN_MODE)
    ids = [store.upload(b"{}\n", float(now)) for now in range(3)]
    page = store.send(bare("GET", "/v1/files?limit=2")).json
    assert ([row["id"] for row in page["data"]], page["has_more"]) == ([ids[2], ids[1]], True)
    rest = store.send(bare("GET", f"/v1/files?limit=2&after={page['last_id']}")).json
    assert ([row["id"] for row in rest["data"]], rest["has_more"]) == ([ids[0]], False)
    assert store.send(bare("GET", "/v1/files?purpose=vision")).json["data"] == []
    assert store.send(bare("GET", "/v1/files?limit=none")).status == 400


@BY_KEEPER
def test_a_batch_goes_its_way_and_answers_every_line_as_chat_does(mode: Keeper) -> None:
    store = Store(mode)
    job = store.start(lines("Why?", "How?"))
    word = str.upper if store.together else str.lower
    states = [store.look(job["id"], now)["status"] for now in (1.0, 10.0, 40.0)]
    assert states == [word("validating"), word("in_progress"), word("completed")]
    done = store.look(job["id"], 40.0)
    rows = store.rows(done["output_file_id"], 40.0)
    assert [row["custom_id"] for row in rows] == ["row-0", "row-1"]
    assert [row["response"]["status_code"] for row in rows] == [200, 200]
    request = posted(CHAT, model=SERVERLESS, messages=[{"role": "user", "content": "Why?"}])
    chat = store.send(request, 50.0).json
    body = rows[0]["response"]["body"]
    assert body["choices"][0]["message"] == chat["choices"][0]["message"]
    assert body["usage"] == chat["usage"]
    assert done["error_file_id"] is None
    listed = store.send(bare("GET", "/v1/batches"), 60.0).json
    assert (listed if store.together else listed["data"]) == [done]


def test_together_counts_the_progress_in_percent_and_says_its_times() -> None:
    store = Store(SERVERLESS_MODE)
    job = store.start(lines(*["Why?"] * 10))
    assert (job["progress"], job["model_id"]) == (0.0, SERVERLESS)
    assert store.look(job["id"], 27.5)["progress"] == 50.0
    done = store.look(job["id"], 60.0)
    assert (done["progress"], done["completed_at"]) == (100.0, "2026-11-02T08:00:30Z")
    assert (done["created_at"], done["job_deadline"]) == ("2026-11-02T08:00:00Z", "2026-11-03T08:00:00Z")


def test_an_engine_counts_its_lines() -> None:
    store = Store(PLAIN_MODE)
    body: dict[str, Any] = {"messages": []}
    data = lines("Why?") + json.dumps({"custom_id": "bad", "body": body}).encode()
    job = store.start(data, metadata={"run": "7"})
    assert (job["object"], job["metadata"], job["completion_window"]) == ("batch", {"run": "7"}, "24h")
    done = store.look(job["id"], 60.0)
    assert done["request_counts"] == {"total": 2, "completed": 1, "failed": 1}
    (bad,) = store.rows(done["error_file_id"], 60.0)
    assert (bad["custom_id"], bad["response"]["status_code"]) == ("bad", 400)


def test_lines_that_together_cannot_read_are_in_the_error_file() -> None:
    store = Store(SERVERLESS_MODE)
    rows = [b"{", b'{"body": {}}', b'{"custom_id": "row-0", "body": 5}', b'{"custom_id": "x", "body": 5}']
    job = store.start(lines("Why?") + b"\n".join(rows) + b"\n" + lines(model=None) + b"\n")
    done = store.look(job["id"], 60.0)
    assert done["status"] == "COMPLETED"
    assert len(store.rows(done["output_file_id"], 60.0)) == 1
    errors = store.rows(done["error_file_id"], 60.0)
    assert [row["custom_id"] for row in errors] == [None, None, "row-0", "x"]
    assert all(row["error"]["message"] for row in errors)


@pytest.mark.parametrize("data", [b"", b"{\n", b'{"custom_id": "a", "body": {}}\n' * 2])
def test_a_file_that_an_engine_cannot_read_fails_the_batch(data: bytes) -> None:
    store = Store(PLAIN_MODE)
    job = store.start(data)
    failed = store.look(job["id"], 10.0)
    assert (failed["status"], failed["output_file_id"]) == ("failed", None)
    assert failed["errors"]["data"][0]["message"]


def test_together_fails_an_empty_file() -> None:
    store = Store(SERVERLESS_MODE)
    failed = store.look(store.start(b"\n")["id"], 10.0)
    assert (failed["status"], failed["error"]) == ("FAILED", "The file has no lines.")


@BY_KEEPER
def test_a_batch_that_is_too_slow_expires_with_what_is_done(mode: Keeper) -> None:
    store = Store(mode)
    job = store.start(lines(*["Why?"] * 100), completion_window="1m")
    assert store.look(job["id"], 59.0)["status"].lower() == "in_progress"
    late = store.look(job["id"], 61.0)
    assert late["status"].lower() == "expired"
    assert len(store.rows(late["output_file_id"], 61.0)) == 70
    if not store.together:
        assert len(store.rows(late["error_file_id"], 61.0)) == 30


@BY_KEEPER
def test_a_cancelled_batch_keeps_what_is_done(mode: Keeper) -> None:
    store = Store(mode)
    job = store.start(lines(*["Why?"] * 10))
    cancel = bare("POST", f"/v1/batches/{job['id']}/cancel")
    first = store.send(cancel, 27.0).json
    assert first["status"] == ("CANCELLED" if store.together else "cancelling")
    over = store.look(job["id"], 31.0)
    assert over["status"].lower() == "cancelled"
    assert len(store.rows(over["output_file_id"], 31.0)) == 4
    assert store.send(cancel, 32.0).status == 409
    assert store.look(job["id"], 500.0) == over


def test_an_engine_runs_batches_of_completions_and_embeddings() -> None:
    store = Store(PLAIN_MODE)
    for endpoint, body, kind in (
        ("/v1/completions", {"prompt": "Why?"}, "text_completion"),
        ("/v1/embeddings", {"input": "Why?"}, "list"),
    ):
        data = json.dumps({"custom_id": "a", "body": body}).encode()
        job = store.start(data, store.world.latest, endpoint=endpoint)
        done = store.look(job["id"], store.world.latest + 60.0)
        (row,) = store.rows(done["output_file_id"], store.world.latest)
        assert (row["response"]["body"]["object"], row["response"]["body"]["model"]) == (kind, "llm")


@pytest.mark.parametrize(
    ("fields", "status", "param"),
    [
        ({"endpoint": CHAT}, 400, "input_file_id"),
        ({"endpoint": CHAT, "input_file_id": "file-none"}, 404, "id"),
        ({"endpoint": "/v1/nothing", "input_file_id": "file-none"}, 400, "endpoint"),
        ({"endpoint": "/v1/audio/translations", "input_file_id": "file-none"}, 400, "endpoint"),
    ],
)
def test_a_batch_of_nothing_is_refused(fields: dict[str, Any], status: int, param: str) -> None:
    got = Store(SERVERLESS_MODE).send(posted("/v1/batches", **fields))
    assert (got.status, got.json["error"]["param"]) == (status, param)


def test_wrong_windows_purposes_and_names_are_refused() -> None:
    store = Store(SERVERLESS_MODE)
    id = store.upload(lines("Why?"))
    request = posted("/v1/batches", endpoint=CHAT, input_file_id=id, completion_window="soon")
    assert store.send(request).json["error"]["param"] == "completion_window"
    tune = store.send(form("/v1/files", b"{}", filename="a.jsonl", purpose="fine-tune")).json["id"]
    assert store.send(posted("/v1/batches", endpoint=CHAT, input_file_id=tune)).status == 400
    assert store.send(form("/v1/files", b"{}", filename="a.exe")).json["error"]["param"] == "file_type"
    assert store.send(bare("GET", "/v1/batches/none")).status == 404
    assert store.send(bare("DELETE", "/v1/batches/none")).status == 404


def test_a_model_for_the_whole_batch_and_lines_without_any() -> None:
    """Together answers what names no model if the batch does, else says so in the error file."""
    store = Store(SERVERLESS_MODE)
    given = store.look(store.start(lines("Why?", model=None), model_id="a/b")["id"], 60.0)
    (row,) = store.rows(given["output_file_id"], 60.0)
    assert (given["model_id"], row["response"]["body"]["model"]) == ("a/b", "a/b")
    lacking = store.look(store.start(lines("Why?", model=None), 60.0)["id"], 120.0)
    (row,) = store.rows(lacking["error_file_id"], 120.0)
    assert (lacking["output_file_id"], row["error"]["code"]) == (None, "missing_required_parameter")


def test_forms_without_what_they_must_have_are_refused() -> None:
    together, engine = Store(SERVERLESS_MODE), Store(PLAIN_MODE)
    assert together.send(form("/v1/files", purpose="batch-api")).json["error"]["param"] == "file_name"
    assert engine.send(form("/v1/files", purpose="batch")).json["error"]["param"] == "file"
    assert engine.send(form("/v1/files", b"{}")).json["error"]["param"] == "purpose"
    whole = form("/v1/files", b"{}", purpose="batch")
    headers = {**whole.headers, "content-type": "multipart/form-data"}
    unbound = Request(method="POST", path=whole.path, headers=headers, body=whole.body)
    assert engine.send(unbound).status == 400
    assert engine.send(posted("/v1/files", purpose="batch")).status == 400


def test_the_tokens_of_batches_have_rows_of_their_own_on_the_bill() -> None:
    store = Store(SERVERLESS_MODE)
    store.start(lines("Why?", "Why?"))
    assert store.world.invoice(10.0).units == ()
    bill = {row.unit: row for row in store.world.invoice(60.0).units}
    assert set(bill) == {"batch input tokens", "batch output tokens"}
    assert {(row.model, row.requests) for row in bill.values()} == {(SERVERLESS, 2)}
    assert store.world.invoice(60.0).serverless == ()


def test_a_video_is_made_in_a_while_and_says_what_it_cost() -> None:
    store = Store(SERVERLESS_MODE)
    job = store.send(posted("/v2/videos", model="kling", prompt="A cat", seconds="4")).json
    assert (job["status"], job["seconds"], job["size"]) == ("in_progress", "4", "1280x720")
    assert "outputs" not in job
    done = store.send(bare("GET", f"/v2/videos/{job['id']}"), 90.0).json
    assert (done["status"], done["outputs"]["cost"]) == ("completed", 1)
    assert done["outputs"]["video_url"].startswith("data:image/png")
    assert done["completed_at"] > done["created_at"] == 1_793_606_400
    (row,) = store.world.invoice(90.0).units
    assert (row.model, row.unit, row.quantity) == ("kling", "videos", 1)


def test_there_are_videos_at_together_serverless_alone() -> None:
    request = posted("/v2/videos", model="kling", prompt="A cat")
    assert [in_mode(mode, request).status for mode in MODES] == [200, 404, 404, 404]
    for fields in ({"prompt": "a"}, {"model": "m"}, {"model": "m", "prompt": "a", "seconds": "long"}):
        assert in_mode(SERVERLESS_MODE, posted("/v2/videos", **fields)).status == 400
    for method, path in (("GET", "/v2/videos/none"), ("DELETE", "/v2/videos/none"), ("GET", "/v2/videos")):
        assert in_mode(SERVERLESS_MODE, bare(method, path)).status == 404


def test_together_lists_its_voices() -> None:
    rows = in_mode(SERVERLESS_MODE, bare("GET", "/v1/voices")).json["data"]
    assert "af_alloy" in [voice["id"] for voice in rows[0]["voices"]]
    assert in_mode(PLAIN_MODE, bare("GET", "/v1/voices")).status == 404
