"""The OpenAI shape over HTTP, as all modes speak it: ``POST /v1/chat/completions``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

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
from hybrid_infer.calls.chat import ChatCompletion, ChatCompletionChunk
from hybrid_infer.calls.reply import Facts, RawResponse
from hybrid_infer.errors import APIError, APIStatusError, DeadlineExceededError, InvalidCallError, Verdict
from hybrid_infer.transport.base import WireRequest

_CREDENTIAL_HEADERS = ("authorization", "modal-key", "modal-secret")
_DEEPEST_PATH = 12


class OpenAIBackend:
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
        body = {"model": target.model, **call.body, **(call.extra_body or {})}
        if call.extra_body and call.extra_body.get("model", target.model) != target.model:
            raise InvalidCallError("extra_body['model'] contradicts the call: use model= instead")
        if body["model"] is None:
            if self.needs_model:
                raise InvalidCallError("no model: name one in the call, or as the model of the client")
            del body["model"]
        if bool(body.get("stream", call.stream)) != call.stream:
            raise InvalidCallError("extra_body['stream'] contradicts the call: use stream= instead")
        if call.stream:
            body["stream"] = True
        headers = dict(self._stream_headers if call.stream else self._json_headers)
        headers.update(self._credentials.headers())
        if call.session is not None:
            self.attach_session(call, call.session, body, headers)
        if call.extra_headers:
            headers.update(self._own_headers(call.extra_headers))
        return self._post_chat(headers, body)

    @property
    def place(self) -> str:
        """Where requests for answers go: origin and path."""
        return f"{self._address.origin}{self._address.prefix}"

    def attach_session(self, call: Call, session: str, body: dict[str, Any], headers: dict[str, str]) -> None:
        """Put the session where the provider looks for it."""
        raise NotImplementedError

    def decode(self, call: Call, response: RawResponse) -> tuple[ChatCompletion, Facts]:
        """The answer in a response with a status of success.

        Raises:
            APIStatusError: the success holds an error.
            APIResponseError: it holds something else.
        """
        return read_completion(call, response, self.error, self._credentials.redact)

    def decoder(self, call: Call) -> ChatDecoder:
        """A decoder for one stream."""
        return ChatDecoder(call, self.error, self._credentials.redact)

    def chunks(self, completion: ChatCompletion) -> Sequence[ChatCompletionChunk]:
        """A complete answer as the chunks of a stream, for servers that answer JSON to a stream request."""
        return chunks_of(completion)

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

    def _post_chat(self, headers: Mapping[str, str], body: Mapping[str, Any]) -> WireRequest:
        return WireRequest(
            method="POST",
            origin=self._address.origin,
            path=f"{self._address.prefix}/v1/chat/completions",
            headers=tuple(headers.items()),
            body=encoded(body),
        )


def encoded(body: Mapping[str, Any]) -> bytes:
    """The body as JSON. Pydantic models in it leave out their fields that are None: nobody wrote those.

    Raises:
        InvalidCallError: naming the place of the value that JSON has no form for.
    """
    try:
        return _json(body)
    except (ValueError, TypeError):
        path, value = _culprit("", body, _DEEPEST_PATH)
    what = repr(value) if isinstance(value, float) else f"a value of type {type(value).__name__}"
    raise InvalidCallError(f"{path or 'the request'}: {what} cannot be sent as JSON")


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
