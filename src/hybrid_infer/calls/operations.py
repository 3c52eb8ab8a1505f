"""What can be asked for: every operation, how it goes over the wire, and which modes offer it.

One table for planning, errors, docs and `hybrid-infer explain`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from hybrid_infer.calls.call import Mode

Operation = Literal[
    "chat",
    "completions",
    "embeddings",
    "rerank",
    "images",
    "transcriptions",
    "translations",
    "speech",
    "models.list",
    "files.create",
    "files.retrieve",
    "files.list",
    "files.content",
    "files.delete",
    "batches.create",
    "batches.retrieve",
    "batches.list",
    "batches.cancel",
    "videos.create",
    "videos.retrieve",
    "functions.call",
    "functions.spawn",
    "functions.get",
    "functions.cancel",
    "request",
]

Method = Literal["GET", "POST", "DELETE"]

Asks = Literal["model", "server", "account"]
"""Whom an operation asks: a model; whatever serves the client's model; or the account, beside all models."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationSpec:
    """One operation.

    Attributes:
        called: the method of the client, e.g. ``"chat.completions.create"``.
        method, path: of the request; a call with an id in its path brings its own.
        modes: those that offer it. What the engine behind Modal or a compatible server serves is its matter.
        asks: whom.
        binary: the answer is bytes, whatever they are, and no JSON.
        spends: something may be billed for it. Nobody lists a price for looking something up or keeping it.
        creates: it makes something that stays, so it is not repeated once it was sent, unless the call says
            `idempotent`.
        traced: the value of OpenTelemetry's ``gen_ai.operation.name``, the conventions' own if there is one.
    """

    called: str
    method: Method
    path: str
    modes: tuple[Mode, ...]
    asks: Asks = "model"
    binary: bool = False
    spends: bool = True
    creates: bool = False
    traced: str


_NOT_MODAL: tuple[Mode, ...] = ("together-serverless", "together-dedicated", "openai-compatible")
_HTTP: tuple[Mode, ...] = (*_NOT_MODAL, "modal")

OPERATIONS: Mapping[Operation, OperationSpec] = {
    "chat": OperationSpec(
        called="chat.completions.create",
        method="POST",
        path="/v1/chat/completions",
        modes=_HTTP,
        traced="chat",
    ),
    "completions": OperationSpec(
        called="completions.create",
        method="POST",
        path="/v1/completions",
        modes=_HTTP,
        traced="text_completion",
    ),
    "embeddings": OperationSpec(
        called="embeddings.create",
        method="POST",
        path="/v1/embeddings",
        modes=_HTTP,
        traced="embeddings",
    ),
    # No serverless model reranks any more (Together docs, 2026-10).
    "rerank": OperationSpec(
        called="rerank.create",
        method="POST",
        path="/v1/rerank",
        modes=("together-dedicated", "openai-compatible", "modal"),
        traced="rerank",
    ),
    "images": OperationSpec(
        called="images.generate",
        method="POST",
        path="/v1/images/generations",
        modes=_HTTP,
        traced="image_generation",
    ),
    "transcriptions": OperationSpec(
        called="audio.transcriptions.create",
        method="POST",
        path="/v1/audio/transcriptions",
        modes=_HTTP,
        traced="transcription",
    ),
    "translations": OperationSpec(
        called="audio.translations.create",
        method="POST",
        path="/v1/audio/translations",
        modes=_HTTP,
        traced="translation",
    ),
    "speech": OperationSpec(
        called="audio.speech.create",
        method="POST",
        path="/v1/audio/speech",
        modes=_HTTP,
        binary=True,
        traced="speech",
    ),
    "models.list": OperationSpec(
        called="models.list",
        method="GET",
        path="/v1/models",
        modes=_HTTP,
        asks="server",
        spends=False,
        traced="models",
    ),
    "files.create": OperationSpec(
        called="files.create",
        method="POST",
        path="/v1/files",
        modes=_NOT_MODAL,
        asks="account",
        creates=True,
        spends=False,
        traced="files",
    ),
    "files.retrieve": OperationSpec(
        called="files.retrieve",
        method="GET",
        path="/v1/files/{id}",
        modes=_NOT_MODAL,
        asks="account",
        spends=False,
        traced="files",
    ),
    "files.list": OperationSpec(
        called="files.list",
        method="GET",
        path="/v1/files",
        modes=_NOT_MODAL,
        asks="account",
        spends=False,
        traced="files",
    ),
    "files.content": OperationSpec(
        called="files.content",
        method="GET",
        path="/v1/files/{id}/content",
        modes=_NOT_MODAL,
        asks="account",
        binary=True,
        spends=False,
        traced="files",
    ),
    "files.delete": OperationSpec(
        called="files.delete",
        method="DELETE",
        path="/v1/files/{id}",
        modes=_NOT_MODAL,
        asks="account",
        spends=False,
        traced="files",
    ),
    "batches.create": OperationSpec(
        called="batches.create",
        method="POST",
        path="/v1/batches",
        modes=_NOT_MODAL,
        asks="account",
        creates=True,
        traced="batches",
    ),
    "batches.retrieve": OperationSpec(
        called="batches.retrieve",
        method="GET",
        path="/v1/batches/{id}",
        modes=_NOT_MODAL,
        asks="account",
        spends=False,
        traced="batches",
    ),
    "batches.list": OperationSpec(
        called="batches.list",
        method="GET",
        path="/v1/batches",
        modes=_NOT_MODAL,
        asks="account",
        spends=False,
        traced="batches",
    ),
    "batches.cancel": OperationSpec(
        called="batches.cancel",
        method="POST",
        path="/v1/batches/{id}/cancel",
        modes=_NOT_MODAL,
        asks="account",
        spends=False,
        traced="batches",
    ),
    "videos.create": OperationSpec(
        called="videos.create",
        method="POST",
        path="/v2/videos",
        modes=("together-serverless",),
        creates=True,
        traced="videos",
    ),
    "videos.retrieve": OperationSpec(
        called="videos.retrieve",
        method="GET",
        path="/v2/videos/{id}",
        modes=("together-serverless",),
        asks="account",
        spends=False,
        traced="videos",
    ),
    # What a function does is its own matter: it may well create something.
    "functions.call": OperationSpec(
        called="functions.call", method="POST", path="", modes=("modal",), creates=True, traced="function"
    ),
    "functions.spawn": OperationSpec(
        called="functions.spawn",
        method="POST",
        path="",
        modes=("modal",),
        asks="account",
        creates=True,
        traced="function",
    ),
    "functions.get": OperationSpec(
        called="functions.spawned", method="POST", path="", modes=("modal",), traced="function"
    ),
    "functions.cancel": OperationSpec(
        called="functions.spawned",
        method="POST",
        path="",
        modes=("modal",),
        asks="account",
        spends=False,
        traced="function",
    ),
    "request": OperationSpec(
        called="post", method="POST", path="", modes=_HTTP, asks="server", creates=True, traced="request"
    ),
}


def repeatable(operation: Operation, idempotent: bool | None) -> bool:
    """Whether a request that went out may be sent again, where nobody knows what became of it."""
    return not OPERATIONS[operation].creates if idempotent is None else idempotent


def spends(operation: Operation, method: Method | None) -> bool:
    """Whether something may be billed for it."""
    return OPERATIONS[operation].spends and method != "GET"


def offered(operation: Operation, mode: Mode) -> bool:
    return mode in OPERATIONS[operation].modes
