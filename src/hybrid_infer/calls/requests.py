"""From the arguments of a client's methods, chat apart, to a Call."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, cast
from urllib.parse import quote

from hybrid_infer.calls.ask import OWN, CallOptions, OtherOptions, make_call
from hybrid_infer.calls.audio import SpeechOptions, TranscriptionOptions
from hybrid_infer.calls.call import Call
from hybrid_infer.calls.completions import CompletionOptions
from hybrid_infer.calls.embeddings import EmbeddingOptions
from hybrid_infer.calls.functions import function_body
from hybrid_infer.calls.images import ImageOptions
from hybrid_infer.calls.operations import OPERATIONS, Method, Operation
from hybrid_infer.calls.rerank import RerankOptions
from hybrid_infer.calls.stored import BatchOptions, FileOptions, ListOptions, VideoOptions
from hybrid_infer.calls.uploads import FileInput, upload_of
from hybrid_infer.errors import InvalidCallError

Given = Mapping[str, Any]

_PATH = re.compile(r"/[\x21-\x7e]*")
_LINK = re.compile(r"https?://", re.I)


class CompletionArguments(CompletionOptions, CallOptions, total=False):
    """Keyword arguments of `completions.create` besides prompt, model and stream."""


class EmbeddingArguments(EmbeddingOptions, CallOptions, total=False):
    """Keyword arguments of `embeddings.create` besides input and model."""


class RerankArguments(RerankOptions, CallOptions, total=False):
    """Keyword arguments of `rerank.create` besides query, documents and model."""


class ImageArguments(ImageOptions, CallOptions, total=False):
    """Keyword arguments of `images.generate` besides prompt and model."""


class TranscriptionArguments(TranscriptionOptions, CallOptions, total=False):
    """Keyword arguments of `audio.transcriptions.create` and `translations.create` besides file and model."""


class SpeechArguments(SpeechOptions, CallOptions, total=False):
    """Keyword arguments of `audio.speech.create` besides input, voice, model and stream."""


class FileArguments(FileOptions, OtherOptions, total=False):
    """Keyword arguments of `files.create` besides file and purpose."""


class BatchArguments(BatchOptions, CallOptions, total=False):
    """Keyword arguments of `batches.create` besides input_file_id and endpoint."""


class VideoArguments(VideoOptions, CallOptions, total=False):
    """Keyword arguments of `videos.create` besides prompt and model."""


class ListArguments(ListOptions, CallOptions, total=False):
    """Keyword arguments of the lists."""


class FileListArguments(ListOptions, OtherOptions, total=False):
    """Keyword arguments of `files.list` besides purpose."""


def completion_call(
    defaults: Given, prompt: Any, model: str | None, stream: bool | None, given: Given
) -> Call:
    """For `completions.create`: a prompt, or several, as text or as tokens."""
    body = {"prompt": _text_or_list("prompt", prompt)}
    return make_call("completions", defaults, body, given, model=model, stream=stream)


def embedding_call(defaults: Given, input: Any, model: str | None, given: Given) -> Call:
    """For `embeddings.create`."""
    return make_call("embeddings", defaults, {"input": _text_or_list("input", input)}, given, model=model)


def rerank_call(
    defaults: Given, query: str, documents: Iterable[Any], model: str | None, given: Given
) -> Call:
    """For `rerank.create`."""
    body = {"query": _text("query", query), "documents": _list("documents", documents)}
    return make_call("rerank", defaults, body, given, model=model)


def image_call(defaults: Given, prompt: str, model: str | None, given: Given) -> Call:
    """For `images.generate`."""
    return make_call("images", defaults, {"prompt": _text("prompt", prompt)}, given, model=model)


def transcription_call(
    operation: Operation, defaults: Given, file: FileInput, model: str | None, given: Given
) -> Call:
    """For `audio.transcriptions.create` and `audio.translations.create`.

    A link goes to the provider as it is: Together fetches it.
    """
    if isinstance(file, str) and _LINK.match(file):
        return make_call(operation, defaults, {"file": file}, given, model=model)
    return make_call(operation, defaults, {}, given, model=model, upload=upload_of("file", file))


def speech_call(
    defaults: Given, input: str, voice: str | None, model: str | None, stream: bool | None, given: Given
) -> Call:
    """For `audio.speech.create`."""
    body: dict[str, Any] = {"input": _text("input", input)}
    if voice is not None:
        body["voice"] = _text("voice", voice)
    return make_call("speech", defaults, body, given, model=model, stream=stream)


def file_call(defaults: Given, file: FileInput, purpose: str, given: Given) -> Call:
    """For `files.create`."""
    body = {"purpose": _text("purpose", purpose)}
    return make_call("files.create", defaults, body, given, upload=upload_of("file", file))


def batch_call(defaults: Given, input_file_id: str, endpoint: str, given: Given) -> Call:
    """For `batches.create`."""
    body = {"input_file_id": _text("input_file_id", input_file_id), "endpoint": _text("endpoint", endpoint)}
    return make_call("batches.create", defaults, body, given)


def video_call(defaults: Given, prompt: str | None, model: str | None, given: Given) -> Call:
    """For `videos.create`."""
    body = {} if prompt is None else {"prompt": _text("prompt", prompt)}
    return make_call("videos.create", defaults, body, given, model=model)


def list_call(operation: Operation, defaults: Given, given: Given, *, purpose: str | None = None) -> Call:
    """For a list; `purpose` is that of files."""
    body = {} if purpose is None else {"purpose": purpose}
    return make_call(operation, defaults, body, given)


def named_call(operation: Operation, defaults: Given, id: str, given: Given) -> Call:
    """For what is done with the one thing of this id."""
    path = OPERATIONS[operation].path.replace("{id}", quote(_text("id", id), safe=""))
    return make_call(operation, defaults, {}, given, path=path)


def request_call(method: Method, defaults: Given, path: object, body: object, given: Given) -> Call:
    """For `client.post` and `client.get`.

    Raises:
        InvalidCallError: the path is none of a server, or the body no JSON object.
    """
    if not isinstance(path, str) or not _PATH.fullmatch(path) or path.startswith("//"):
        raise InvalidCallError(
            f'{path!r} is not a path: give what follows the host, e.g. "/v1/audio/voices"; its characters '
            "percent-encoded where they must be"
        )
    if body is not None and not isinstance(body, Mapping):
        raise InvalidCallError(f"the body is a {type(body).__name__}: give a mapping, which is sent as JSON")
    unknown = [name for name in given if name not in OWN]
    if unknown:
        raise InvalidCallError(f"{', '.join(unknown)}: fields of the request belong into its body")
    if method == "GET":
        given = {"idempotent": True, **given}
    fields = dict(cast("Mapping[str, Any]", body or {}))
    return make_call("request", defaults, fields, given, method=method, path=path)


def function_call(
    defaults: Given,
    function: str,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    *,
    operation: Operation = "functions.call",
    stream: bool = False,
) -> Call:
    """For `functions.call`, `stream`, `map` and `spawn`. All arguments belong to the function."""
    body = function_body(_text("function", function), args, kwargs)
    return make_call(operation, defaults, body, {}, stream=stream)


def spawned_call(operation: Operation, defaults: Given, function: str, id: str) -> Call:
    """For what is done with a call that was spawned."""
    body = {**function_body(_text("function", function), (), {}), "call_id": _text("id", id)}
    return make_call(operation, defaults, body, {})


def input_rows(inputs: Sequence[object], concurrency: int) -> Iterator[tuple[Any, ...]]:
    """The positional arguments of each call of a `map`.

    Raises:
        InvalidCallError: there are no inputs, or one is no iterable; or no call may run.
    """
    if type(concurrency) is not int or concurrency < 1:
        raise InvalidCallError(f"concurrency={concurrency!r}: must be a whole number above 0")
    if not inputs:
        raise InvalidCallError("map: give an iterable of inputs for each positional argument")
    for position, one in enumerate(inputs, 1):
        if isinstance(one, str | bytes) or not isinstance(one, Iterable):
            raise InvalidCallError(
                f"map: argument {position} is a {type(one).__name__}: give an iterable of inputs"
            )
    return zip(*cast("Sequence[Iterable[Any]]", inputs), strict=False)


def _text(name: str, value: object) -> str:
    if not isinstance(value, str) or not value:
        raise InvalidCallError(f"{name}: must be a text that is not empty, it is {_shown(value)}")
    return value


def _list(name: str, value: object) -> list[Any]:
    given = value
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise InvalidCallError(f"{name}: must be a list, it is {_shown(given)}")
    found: list[Any] = [*value]
    if not found:
        raise InvalidCallError(f"{name}: the list is empty")
    return found


def _text_or_list(name: str, value: object) -> str | Sequence[Any]:
    return _text(name, value) if isinstance(value, str) else _list(name, value)


def _shown(value: object) -> str:
    return "empty" if value == "" else f"a {type(value).__name__}"
