"""What is asked of the control plane: a request taken apart, and the refusals."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, unquote

from pydantic_core import from_json

from hybrid_infer.simulator.exchange import Request
from hybrid_infer.simulator.shapes import is_object

ROOTS = ("/v3/whoami", "/v1/projects", "/v2/projects/", "/v2/supported-models", "/v2/public/")
"""Where the paths of the control plane begin."""

_PAGE = 50
_NAME = re.compile(r"""\s*name\s*(?P<how>=|:)\s*"?(?P<name>[^"]+?)"?\s*""")


class NotDoneError(Exception):
    """The control plane refuses."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request taken apart: the parts of its path, its query, and its body where that is an object."""

    method: str
    parts: Sequence[str]
    query: Mapping[str, str]
    body: dict[str, Any]

    def fields(self, known: Sequence[str]) -> set[str]:
        """The fields that an update is about: those of ``updateMask``, or those that are there.

        Raises:
            NotDoneError: there are none, or some that are not known.
        """
        mask = self.query.get("updateMask")
        there = set(self.body) - {"etag"}
        for name in sorted(there - set(known)):
            raise NotDoneError(400, "invalid_argument", f'unknown field "{name}"')
        fields = there if not mask else {each.partition(".")[0] for each in mask.split(",")}
        if not fields:
            raise NotDoneError(400, "invalid_argument", "no fields to update")
        return fields


def taken_apart(request: Request) -> Asked:
    """The request as `Asked`.

    Raises:
        NotDoneError: its body is no JSON object.
    """
    path, _, query = request.path.partition("?")
    body: object = {}
    if request.body:
        try:
            body = from_json(request.body)
        except ValueError:
            body = None
    if not is_object(body):
        raise NotDoneError(400, "invalid_argument", "the body is not a JSON object")
    return Asked(
        method=request.method,
        parts=[unquote(part) for part in path.strip("/").split("/")],
        query={name: values[-1] for name, values in parse_qs(query).items()},
        body=body,
    )


def page_of(rows: Sequence[dict[str, Any]], asked: Asked) -> dict[str, Any]:
    """A page of a list, as ``filter``, ``limit`` and ``after`` say; the cursor is the number of a row."""
    rows = [row for row in rows if _fits(row, asked.query.get("filter"))]
    try:
        first, most = int(asked.query.get("after", 0)), int(asked.query.get("limit", _PAGE))
    except ValueError:
        raise NotDoneError(400, "invalid_argument", "limit or after is not valid") from None
    end = first + max(1, most)
    return {
        "object": "list",
        "data": rows[first:end],
        "next_cursor": str(end) if end < len(rows) else None,
    }


def _fits(row: dict[str, Any], wanted: str | None) -> bool:
    """Whether a row passes a filter by its name; a bare name fits a qualified one."""
    if not wanted:
        return True
    read = _NAME.fullmatch(wanted)
    if read is None:
        raise NotDoneError(400, "invalid_argument", f"filter {wanted!r} is not supported here")
    name = str(row.get("name"))
    if read["how"] == ":":
        return read["name"].strip("*") in name
    return read["name"] in (name, name.rpartition("/")[2])
