"""The OpenAI shape over HTTP, as all modes speak it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar
from urllib.parse import urlencode

from pydantic_core import from_json, to_json

from hybrid_infer.backends.base import (
    USER_AGENT,
    Address,
    Credentials,
    HeaderPairs,
    checked_headers,
    is_array,
    is_object,
)
from hybrid_infer.backends.chat_answer import chunks_of, read_completion
from hybrid_infer.backends.chat_stream import ChatDecoder
from hybrid_infer.backends.error_body import ErrorBody
from hybrid_infer.backends.provider_errors import REQUEST_TIMEOUT, Hints, error_of
from hybrid_infer.calls.call import Call, Target
from hybrid_infer.calls.chat import ChatCompletion
from hybrid_infer.calls.decoder import Decoder
from hybrid_infer.calls.operations import OPERATIONS, Operation
from hybrid_infer.calls.reply import Facts, RawResponse
from hybrid_infer.errors import APIError, APIStatusError, DeadlineExceededError, InvalidCallError, Verdict
from hybrid_infer.transport.base import WireRequest
from hybrid_infer.transport.bodies import Body, Multipart

_CREDENTIAL_HEADERS = ("authorization", "modal-key", "modal-secret")
_DEEPEST_PATH = 12
_NOT_UTF8 = "not UTF-8 cannot be sent as text: decode it with the encoding that it has"


class OpenAIBackend(ABC):
    """What the backends of the OpenAI shape share; each mode says how it differs."""

    hints: ClassVar[Hints]
    """What to do next, by error code and by error class."""

    verdicts: ClassVar[Mapping[type[APIError], Verdict]] = {}
    """What outcomes mean at this provider, where that is not what their class says."""

    needs_model: ClassVar[bool] = False
    """Whether a request without a model is refused here, because the provider serves many."""

    def __init__(self, address: Address, credentials: Credentials) -> None:
        self._address = address
        self._credentials = credentials
        self.credential: Callable[[], HeaderPairs] = credentials.headers
        """The header pairs that prove who asks, as they are now."""
        agent = ("user-agent", USER_AGENT)
        self._get_headers = (("accept", "application/json"), agent)
        self._json_headers = (("content-type", "application/json"), *self._get_headers)
        self._stream_headers = (("content-type", "application/json"), ("accept", "text/event-stream"), agent)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._address.origin}{self._address.prefix})"

    def encode(self, call: Call, target: Target) -> WireRequest:
        """The request for one attempt at a call. What `extra_body` and `extra_headers` name wins.

        Raises:
            InvalidCallError: something in the call cannot be sent.
        """
        spec = OPERATIONS[call.operation]
        body = self._body(call, target, asks_a_model=spec.asks == "model")
        path = self.shaped(call, call.path or spec.path, body)
        method = call.method or spec.method
        address = self.address(call.operation)
        headers = self._credentials.after(self._stream_headers if call.stream else self._json_headers)
        if method != "POST" or call.upload or call.session or call.extra_headers or spec.binary:
            return self._unusual(call, method, path, dict(headers), body)
        return WireRequest(
            method=method,
            origin=address.origin,
            path=f"{address.prefix}{path}",
            headers=headers,
            body=encoded(body),
        )

    def _unusual(
        self, call: Call, method: str, path: str, headers: dict[str, str], body: dict[str, Any]
    ) -> WireRequest:
        """A request that is not a JSON object under the usual headers."""
        if call.session is not None:
            self.attach_session(call, call.session, body, headers)
        payload: bytes | Body = b""
        if method != "POST":
            del headers["content-type"]
            path += _query(body)
        elif call.upload is not None:
            payload = Multipart(_fields(body), [call.upload])
            headers["content-type"] = payload.content_type
        else:
            payload = encoded(body)
        if OPERATIONS[call.operation].binary and not call.stream:
            headers["accept"] = "*/*"
        if call.extra_headers:
            headers.update(self._own_headers(call.extra_headers))
        address = self.address(call.operation)
        return WireRequest(
            method=method,
            origin=address.origin,
            path=f"{address.prefix}{path}",
            headers=tuple(headers.items()),
            body=payload,
        )

    def _body(self, call: Call, target: Target, *, asks_a_model: bool) -> dict[str, Any]:
        """The fields of the request."""
        body = {"model": target.model, **call.body} if asks_a_model else dict(call.body)
        if call.extra_body:
            body.update(call.extra_body)
        if not asks_a_model:
            return body
        if body["model"] != target.model:
            raise InvalidCallError("extra_body['model'] contradicts the call: use model= instead")
        if target.model is None:
            if self.needs_model:
                raise InvalidCallError("no model: name one in the call, or as the model of the client")
            del body["model"]
        if "stream" in body and bool(body["stream"]) != call.stream:
            raise InvalidCallError("extra_body['stream'] contradicts the call: use stream= instead")
        if call.stream:
            body["stream"] = True
        return body

    def address(self, operation: Operation) -> Address:
        """Where an operation's requests go."""
        return self._address

    def shaped(self, call: Call, path: str, body: dict[str, Any]) -> str:
        """The path of a request; what this provider calls by another name is renamed in the body.

        Here Together's names become OpenAI's, so that a change of mode needs no other arguments.
        """
        if call.operation == "images":
            if body.get("response_format") == "base64":
                body["response_format"] = "b64_json"
            if "size" not in body and body.get("width") and body.get("height"):
                body["size"] = f"{body.pop('width')}x{body.pop('height')}"
        elif call.operation == "files.create" and body.get("purpose") == "batch-api":
            body["purpose"] = "batch"
        return path

    @property
    def place(self) -> str:
        """Where requests for answers go: origin and path."""
        return f"{self._address.origin}{self._address.prefix}"

    @abstractmethod
    def attach_session(self, call: Call, session: str, body: dict[str, Any], headers: dict[str, str]) -> None:
        """Put the session where the provider looks for it."""

    def decode(self, call: Call, response: RawResponse) -> tuple[Any, Facts]:
        """The answer in a response with a status of success.

        Raises:
            APIStatusError: the success holds an error.
            APIResponseError: it holds something else.
        """
        if call.operation == "chat":
            return read_completion(call, response, self.error, self._credentials.redact)
        from hybrid_infer.backends.answers import read_answer  # loads the models of all other answers

        return read_answer(call, response, self.error, self._credentials.redact)

    def decoder(self, call: Call) -> Decoder:
        """A decoder for one stream."""
        if call.operation == "chat":
            return ChatDecoder(call, self.error, self._credentials.redact)
        from hybrid_infer.backends.streamed import decoder_for

        return decoder_for(call, self.error, self._credentials.redact)

    def chunks(self, answer: Any) -> Sequence[Any]:
        """A complete answer as the chunks of a stream, for servers that answer whole to a stream request."""
        if isinstance(answer, ChatCompletion):
            return chunks_of(answer)
        from hybrid_infer.backends.streamed import chunks_of_other

        return chunks_of_other(answer)

    def error(self, response: RawResponse) -> APIStatusError:
        """The error that a response is."""
        return error_of(response, hints=self.hints, redact=self._credentials.redact, is_cold=self.is_cold)

    def verdict(self, outcome: APIError | None) -> Verdict:
        """What an outcome means: a response, a failure on the way, the end of a stream; None is success.

        The only place that decides it; retry, breaker, limits, hedge and route read it from the error.
        """
        if outcome is None:
            return "success"
        if isinstance(outcome, DeadlineExceededError):
            return "retry" if outcome.silent else "ignore"
        if outcome.status == REQUEST_TIMEOUT and type(outcome) is APIStatusError:
            return "retry"
        for kind in type(outcome).__mro__:
            if kind in self.verdicts:
                return self.verdicts[kind]
        return outcome.verdict

    def is_cold(self, status: int, body: ErrorBody) -> bool:
        """Whether an error says, in the provider's own way, that the machine is not running yet."""
        return False

    def probe(self, target: Target) -> WireRequest | None:
        """A cheap request that shows whether the machine is up; None where there is none to wait for."""
        return WireRequest(
            method="GET",
            origin=self._address.origin,
            path=f"{self._address.prefix}/v1/models",
            headers=(*self._get_headers, *self._credentials.headers()),
        )

    def first_model(self, response: RawResponse) -> str | None:
        """The first model in the answer to ``GET /v1/models``; None where it lists none.

        The list stands under ``data`` (OpenAI's shape) or bare (Together's, 2026-10).
        """
        try:
            listed: Any = from_json(response.body)
        except ValueError:
            return None
        models: Any = listed.get("data") if is_object(listed) else listed
        first: Any = models[0] if is_array(models) and models else None
        name: Any = first.get("id") if is_object(first) else None
        return name if isinstance(name, str) and name else None

    def _own_headers(self, extra: Mapping[str, str]) -> dict[str, str]:
        own = checked_headers(extra)
        for name in _CREDENTIAL_HEADERS:
            if name in own:
                self._credentials.remember(own[name])
        return own


def _query(fields: Mapping[str, Any]) -> str:
    """Fields as the query of a path; those that are None are left out."""
    pairs = _fields(fields)
    return f"?{urlencode(pairs)}" if pairs else ""


def _fields(body: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Fields of a form, or of a query, as the `openai` and `together` packages write them.

    Lists repeat their name with brackets; truth is ``true`` or ``false``; what is None is left out.
    """
    pairs: list[tuple[str, str]] = []
    for name, value in body.items():
        several = is_array(value)
        for one in value if several else (value,):
            if one is not None:
                pairs.append((f"{name}[]" if several else name, _plain(name, one)))
    return pairs


def _plain(name: str, value: Any) -> str:
    if isinstance(value, str):
        return checked_text(name, value)
    return encoded({name: value}).decode().partition(":")[2][:-1]


def encoded(body: Mapping[str, Any]) -> bytes:
    """The body as JSON. Pydantic models in it leave out their fields that are None: nobody wrote those.

    Raises:
        InvalidCallError: naming the place of the value that JSON has no form for.
    """
    try:
        return _json(body)
    except (ValueError, TypeError):
        path, value = _culprit("", body, _DEEPEST_PATH)
    if isinstance(value, str | bytes | bytearray):
        raise InvalidCallError(f"{path or 'the request'}: {type(value).__name__} that is {_NOT_UTF8}")
    what = repr(value) if isinstance(value, float) else f"a value of type {type(value).__name__}"
    raise InvalidCallError(f"{path or 'the request'}: {what} cannot be sent as JSON")


def checked_text(name: str, text: str) -> str:
    """A text that UTF-8 has a form for.

    Raises:
        InvalidCallError: it holds half of a surrogate pair.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidCallError(f"{name}: str that is {_NOT_UTF8}") from None
    return text


def _json(value: Any) -> bytes:
    data = to_json(value, exclude_none=True)
    if b"NaN" in data or b"Infinity" in data:
        from_json(data, allow_inf_nan=False)  # as a word in a text they are fine, as a number they are not
    return data


def _culprit(path: str, value: Any, depth: int) -> tuple[str, Any]:
    """The innermost value that cannot be encoded, and where it stands, e.g. ``messages[0].content``."""
    steps: Iterable[tuple[str, Any]] = ()
    if is_object(value):
        steps = ((f"{path}.{key}" if path else str(key), entry) for key, entry in value.items())
    elif is_array(value):
        steps = ((f"{path}[{index}]", entry) for index, entry in enumerate(value))
    for step, entry in steps if depth else ():
        try:
            _json(entry)
        except (ValueError, TypeError):
            return _culprit(step, entry, depth - 1)
    return path, value
