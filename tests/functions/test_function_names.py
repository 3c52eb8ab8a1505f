"""How functions are named."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_infer.calls.functions import function_ask, function_body, function_name
from hybrid_infer.errors import InvalidCallError

PART = st.text(
    st.characters(codec="ascii", exclude_characters="/. \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f"), min_size=1
)


@given(app=PART, tag=PART, method=st.none() | PART)
def test_a_name_is_read_and_written_the_same(app: str, tag: str, method: str | None) -> None:
    text = f"{app}/{tag}" if method is None else f"{app}/{tag}.{method}"
    name = function_name(text)
    assert (name.app, name.tag, name.method) == (app, tag, method)
    assert str(name) == text


@pytest.mark.parametrize(
    "text", ["detect", "", "/detect", "app/", "app/Class.", "a/b/c", "a/B.c.d", "a b/c", 7, None]
)
def test_what_names_no_function_is_told_with_the_right_form(text: object) -> None:
    with pytest.raises(InvalidCallError, match=r"'app/function', or 'app/Class\.method'"):
        function_name(text)


def test_a_body_holds_name_and_arguments() -> None:
    ask = function_ask(function_body("a/b", (1, None), {"timeout": 2}), environment="dev")
    assert (str(ask.name), ask.name.environment) == ("a/b", "dev")
    assert (ask.args, ask.kwargs) == ((1, None), {"timeout": 2})
    with pytest.raises(InvalidCallError, match="args is a list"):
        function_ask({"function": "a/b", "args": "abc"})
