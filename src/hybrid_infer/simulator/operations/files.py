"""``/v1/files``: what was uploaded, and what batches write. Pure.

Together's package asks where to put a file, puts it there, and says when it is done (`together` 3.1.1): a
form without a file is answered with 302 and an address of the simulator. A form with its file is taken too,
as it is by OpenAI and by Together's ``/v1/files/upload``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from pydantic_core import to_json

from hybrid_infer.simulator.ask import NotAcceptedError
from hybrid_infer.simulator.chance import Chance
from hybrid_infer.simulator.exchange import Headers, Request, Response
from hybrid_infer.simulator.operations.images import origin_of
from hybrid_infer.simulator.operations.made import Posted, missing

UPLOADS = "/v1/simulated/uploads/"
"""Where Together's package puts files; whoever knows the signature may."""

_TOGETHER_PURPOSES = ("fine-tune", "calibration", "eval", "batch-api")
_TOGETHER_KINDS = ("jsonl", "csv", "parquet")
_BYTES: Headers = (("content-type", "application/octet-stream"), ("x-simulated", "hybrid-infer"))
_PAGE = 10_000


@dataclass(slots=True, kw_only=True)
class StoredFile:
    """A file. `data` is None until it has come; `created` is in seconds since 1970."""

    id: str
    filename: str
    purpose: str
    kind: str
    created: int
    signature: str
    data: bytes | None


class FileStore:
    """The files of one account."""

    def __init__(self, chance: Chance, *, together: bool) -> None:
        self._chance = chance
        self._together = together
        self._files: dict[str, StoredFile] = {}
        self._made = 0

    def receive(self, posted: Posted, parts: tuple[str, ...]) -> Response | None:
        """Answer what is asked at the path below ``/v1/files``; None for what is no such path."""
        method = posted.request.method
        if method == "POST" and parts in ((), ("upload",)):
            return self._create(posted)
        if method == "GET" and not parts:
            return self._list(posted)
        if len(parts) == 1 and method == "GET":
            return reply(posted, self._shown(self.get(parts[0])))
        if len(parts) == 1 and method == "DELETE":
            return self._delete(posted, parts[0])
        if parts[1:] == ("content",) and method == "GET":
            return Response(status=200, headers=_BYTES, pieces=((0, self.data(parts[0])),))
        if parts[1:] == ("preprocess",) and method == "POST" and self._together:
            self.data(parts[0])
            return reply(posted, self._shown(self.get(parts[0])))
        return None

    def put(self, request: Request) -> Response | None:
        """Take a file at the address that was given for it; None for what is no such address."""
        path, _, _ = request.path.partition("?")
        file = self._files.get(path.removeprefix(UPLOADS)) if path.startswith(UPLOADS) else None
        if request.method != "PUT" or file is None or query_of(request).get("signature") != file.signature:
            return None
        file.data = request.body
        return Response(status=200, headers=_BYTES, pieces=((0, b""),))

    def get(self, id: str) -> StoredFile:
        """A file.

        Raises:
            NotAcceptedError: there is none of that name.
        """
        file = self._files.get(id)
        if file is None:
            raise NotAcceptedError(f"No such file: {id}", param="id", code="not_found", status=404)
        return file

    def data(self, id: str) -> bytes:
        """What is in a file.

        Raises:
            NotAcceptedError: there is none, or it has not come yet.
        """
        file = self.get(id)
        if file.data is None:
            raise NotAcceptedError(f"The file {id} has not been uploaded.", param="id")
        return file.data

    def keep(
        self, name: str, purpose: str, data: bytes | None, created: int, kind: str = "jsonl"
    ) -> StoredFile:
        """A new file."""
        self._made += 1
        chance = self._chance.of(f"file {self._together} {self._made}")
        file = StoredFile(
            id=f"file-{chance.getrandbits(96):024x}",
            filename=name,
            purpose=purpose,
            kind=kind,
            created=created,
            signature=f"{chance.getrandbits(64):016x}",
            data=data,
        )
        self._files[file.id] = file
        return file

    def _create(self, posted: Posted) -> Response:
        upload = posted.form.uploads.get("file")
        if self._together:
            return self._create_at_together(posted)
        if upload is None:
            raise missing("file")
        purpose = posted.needed("purpose")
        file = self.keep(upload.filename, purpose, upload.data, posted.stamp.created)
        return reply(posted, self._shown(file))

    def _create_at_together(self, posted: Posted) -> Response:
        upload = posted.form.uploads.get("file")
        purpose = posted.choice("purpose", _TOGETHER_PURPOSES, "fine-tune")
        name = posted.text("file_name") or (upload.filename if upload is not None else None)
        if not name:
            raise missing("file_name")
        kind = posted.text("file_type") or name.rpartition(".")[2]
        if kind not in _TOGETHER_KINDS:
            raise NotAcceptedError(
                f'"file_type" must be one of {", ".join(_TOGETHER_KINDS)}.', param="file_type"
            )
        data = None if upload is None else upload.data
        file = self.keep(name, purpose, data, posted.stamp.created, kind)
        if upload is not None:
            return reply(posted, self._shown(file))
        origin = origin_of(posted.request) or "https://api.together.ai"
        headers: Headers = (
            ("location", f"{origin}{UPLOADS}{file.id}?signature={file.signature}"),
            ("x-together-file-id", file.id),
            ("x-simulated", "hybrid-infer"),
        )
        return Response(status=302, headers=headers, pieces=((0, b""),))

    def _list(self, posted: Posted) -> Response:
        files = list(reversed(self._files.values()))
        if self._together:
            return reply(posted, {"data": [self._shown(file) for file in files]})
        purpose = query_of(posted.request).get("purpose")
        kept = [self._shown(file) for file in files if purpose in (None, file.purpose)]
        return reply(posted, page(kept, posted.request, _PAGE))

    def _delete(self, posted: Posted, id: str) -> Response:
        self.get(id)
        del self._files[id]
        gone: dict[str, Any] = {"id": id, "deleted": True}
        return reply(posted, gone if self._together else {"object": "file", **gone})

    def _shown(self, file: StoredFile) -> dict[str, Any]:
        shown: dict[str, Any] = {
            "id": file.id,
            "object": "file",
            "created_at": file.created,
            "filename": file.filename,
            "bytes": len(file.data or b""),
            "purpose": file.purpose,
        }
        if self._together:
            come = file.data is not None
            return {
                **shown,
                "FileType": file.kind,
                "Processed": come,
                "LineCount": (file.data or b"").count(b"\n"),
                "processing_status": "COMPLETED" if come else "PENDING",
            }
        return {**shown, "status": "processed", "status_details": None, "expires_at": None}


def reply(posted: Posted, body: Any) -> Response:
    """A JSON answer that is there at once."""
    indent = 2 if posted.together else None
    return Response(status=200, headers=posted.json_headers, pieces=((0, to_json(body, indent=indent)),))


def query_of(request: Request) -> Mapping[str, str]:
    """The query of the path, the last value of each name."""
    return {name: values[-1] for name, values in parse_qs(request.path.partition("?")[2]).items()}


def page(rows: list[dict[str, Any]], request: Request, limit: int) -> dict[str, Any]:
    """One page of a list, as OpenAI pages: what comes `after` an id, up to a `limit`."""
    query = query_of(request)
    wanted = query.get("limit", str(limit))
    if not wanted.isdecimal() or int(wanted) < 1:
        raise NotAcceptedError('"limit" must be a whole number of at least 1.', param="limit")
    ids = [row["id"] for row in rows]
    start = ids.index(query["after"]) + 1 if query.get("after") in ids else 0
    shown = rows[start : start + int(wanted)]
    return {
        "object": "list",
        "data": shown,
        "first_id": shown[0]["id"] if shown else None,
        "last_id": shown[-1]["id"] if shown else None,
        "has_more": start + len(shown) < len(rows),
    }
