"""Forms: bodies of the kind ``multipart/form-data``, read strictly (RFC 7578). Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote

from pydantic_core import from_json

from hybrid_infer.simulator.ask import NotAcceptedError
from hybrid_infer.simulator.exchange import Request
from hybrid_infer.simulator.shapes import object_or_empty

MULTIPART = "multipart/form-data"

_BOUNDARY = re.compile(r';\s*boundary=(?:"([^"]{1,70})"|([^\s";,]{1,70}))', re.IGNORECASE)
_PARAMETER = re.compile(r';\s*([\w*]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s";]*))')


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A file of a form, with the name and the kind that the client gives."""

    filename: str
    content_type: str
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """A form. A field may come several times; the brackets at the end of ``name[]`` are not kept."""

    fields: dict[str, list[str]]
    uploads: dict[str, Upload]


def is_form(request: Request) -> bool:
    """Whether the body is a form."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() == MULTIPART


def read_form(request: Request) -> Form:
    """Read a form.

    Raises:
        NotAcceptedError: the body is none, or is not what its boundary says.
    """
    if not is_form(request):
        raise NotAcceptedError(f"The body must be {MULTIPART}.", code="invalid_content_type")
    found = _BOUNDARY.search(request.headers.get("content-type", ""))
    if found is None:
        raise NotAcceptedError("The content type names no boundary.", code="invalid_form")
    mark = b"--" + (found[1] or found[2]).encode("latin-1", "replace")
    parts = (b"\r\n" + request.body).split(b"\r\n" + mark)
    if len(parts) < 2 or not parts[-1].startswith(b"--"):
        raise NotAcceptedError("The form does not end with its boundary.", code="invalid_form")
    form = Form(fields={}, uploads={})
    for part in parts[1:-1]:
        _take(part, form)
    return form


def fields_of(request: Request) -> dict[str, object]:
    """What a body says of its model and of streaming, in whatever kind; nothing where it cannot be read."""
    try:
        if is_form(request):
            form = read_form(request).fields
            return {"model": form.get("model", [None])[-1], "stream": form.get("stream", [""])[-1] == "true"}
        return object_or_empty(from_json(request.body)) if request.body else {}
    except (NotAcceptedError, ValueError):
        return {}


def _take(part: bytes, form: Form) -> None:
    """Put one part where it belongs."""
    head, between, data = part.partition(b"\r\n\r\n")
    if not between or not head.startswith(b"\r\n"):
        raise NotAcceptedError("A part of the form has no headers.", code="invalid_form")
    headers: dict[str, str] = {}
    for line in head[2:].decode("utf-8", "replace").split("\r\n"):
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    disposition = headers.get("content-disposition", "")
    given = {
        name.lower(): _plain(quoted) if quoted else bare
        for name, quoted, bare in _PARAMETER.findall(disposition)
    }
    field = given.get("name")
    if not disposition.lower().startswith("form-data") or not field:
        raise NotAcceptedError("A part of the form has no name.", code="invalid_form")
    filename = given.get("filename")
    if "filename*" in given:
        filename = unquote(given["filename*"].rpartition("''")[2])
    field = field.removesuffix("[]")
    if filename is not None:
        kind = headers.get("content-type", "application/octet-stream")
        form.uploads[field] = Upload(filename=filename, content_type=kind, data=data)
        return
    try:
        form.fields.setdefault(field, []).append(data.decode())
    except UnicodeDecodeError:
        raise NotAcceptedError(f'"{field}" is no text.', param=field, code="invalid_form") from None


def _plain(quoted: str) -> str:
    """What a quoted name stands for: with backslashes, or as browsers write quotation marks."""
    return re.sub(r"\\(.)", r"\1", quoted).replace("%22", '"')
