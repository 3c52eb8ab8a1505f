"""One clear error for each way in which a function fails."""

from __future__ import annotations

import pickle
from typing import get_args

import pytest

from functions_support import named
from hybrid_infer import errors
from hybrid_infer.backends.functions import FunctionErrors
from hybrid_infer.errors import (
    APIError,
    FunctionError,
    HybridInferError,
    InvalidCallError,
    RemoteFunctionError,
)
from hybrid_infer.transport.functions import Cause, FunctionFailure, Stage

NAME = named("shop/Model.rank")


def error(cause: Cause, stage: Stage = "wait", said: str = "so it says") -> HybridInferError:
    return FunctionErrors().error(FunctionFailure(said, cause=cause, stage=stage, call_id="fc-1"), NAME)


@pytest.mark.parametrize(
    ("cause", "stage", "kind", "verdict", "billed"),
    [
        ("connection", "connect", errors.APIConnectionError, "retry", False),
        ("connection", "wait", errors.APIConnectionError, "retry", None),
        ("authentication", "look-up", errors.AuthenticationError, "fail", False),
        ("permission", "send", errors.PermissionDeniedError, "fail", False),
        ("not_found", "look-up", errors.NotFoundError, "fail", False),
        ("invalid", "send", errors.BadRequestError, "fail", False),
        ("conflict", "send", errors.ConflictError, "fail", False),
        ("exhausted", "send", errors.RateLimitError, "saturated", False),
        ("unavailable", "look-up", errors.InternalServerError, "retry", False),
        ("unavailable", "send", errors.InternalServerError, "retry", None),
        ("internal", "wait", errors.InternalServerError, "retry", None),
        ("lost", "wait", errors.InternalServerError, "retry", None),
        ("result", "wait", errors.APIResponseError, "fail", True),
        ("expired", "wait", errors.NotFoundError, "fail", None),
        ("remote", "wait", errors.RemoteFunctionError, "fail", True),
        ("timeout", "wait", errors.FunctionTimeoutError, "fail", True),
        ("crashed", "wait", errors.FunctionCrashedError, "fail", True),
        ("closed", "connect", errors.APIConnectionError, "retry", False),
    ],
)
def test_each_cause_is_one_error(
    cause: Cause, stage: Stage, kind: type[APIError], verdict: str, billed: bool | None
) -> None:
    found = error(cause, stage)
    assert type(found) is kind and isinstance(found, APIError)
    assert FunctionErrors().verdict(found) == verdict
    assert found.retryable == (verdict in ("retry", "saturated"))
    assert found.billed is billed
    assert "so it says" in str(found)
    assert found.request_id == "fc-1"


def test_no_cause_is_without_an_error() -> None:
    for cause in get_args(Cause):
        assert str(error(cause))


@pytest.mark.parametrize(
    ("cause", "says"),
    [
        ("generator", "shop/Model.rank is a generator: read it with functions.stream"),
        ("not_generator", "shop/Model.rank is no generator: call it with functions.call"),
        ("argument", "shop/Model.rank: an argument cannot be sent: so it says"),
    ],
)
def test_what_the_call_has_wrong_is_not_the_providers_fault(cause: Cause, says: str) -> None:
    found = error(cause, "send")
    assert type(found) is InvalidCallError and says in str(found)


def test_a_function_that_is_not_there_says_what_to_do() -> None:
    assert "modal deploy" in str(error("not_found", "look-up", "no app 'shop'"))


class Boom(Exception):
    """Cannot be rebuilt from its arguments."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__("boom")


def test_what_the_function_raised_keeps_type_and_message() -> None:
    original = KeyError("colour")
    failure = FunctionFailure(str(original), cause="remote", stage="wait", remote=original)
    found = FunctionErrors().error(failure, NAME)
    assert isinstance(found, RemoteFunctionError) and isinstance(found, FunctionError)
    assert found.remote is original and found.__cause__ is original
    assert found.remote_type == "builtins.KeyError"
    assert "the function raised KeyError: 'colour'" in str(found)


def test_such_an_error_can_be_pickled_with_its_original_or_without() -> None:
    for original, kept in ((ValueError("x", 1), True), (Boom(1, 2), False)):
        failure = FunctionFailure("x", cause="remote", stage="wait", remote=original)
        found = FunctionErrors().error(failure, NAME)
        copy = pickle.loads(pickle.dumps(found))
        assert str(copy) == str(found) and copy.remote_type == found.remote_type  # type: ignore[attr-defined]
        assert (copy.remote is not None) == kept
        if kept:
            assert copy.remote.args == original.args


def test_a_long_message_is_shortened() -> None:
    assert len(str(error("invalid", "send", "x" * 5000))) < 1000
