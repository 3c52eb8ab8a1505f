"""What each kind of value may be."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from hybrid_infer.errors import ConfigurationError
from hybrid_infer.settings import ModelTarget, Settings, reveal


def refused(name: str, value: object) -> str:
    with pytest.raises(ConfigurationError) as caught:
        Settings.load({name: value}, environ={})
    return str(caught.value)


@pytest.mark.parametrize("word", ["1", "true", "yes", "on", "TRUE", "Yes", " on ", True, 1])
def test_words_that_mean_yes(word: object) -> None:
    assert Settings.load({"simulate": word}, environ={}).simulate is True


@pytest.mark.parametrize("word", ["0", "false", "no", "off", "FALSE", "No", "oFF\n", False, 0])
def test_words_that_mean_no(word: object) -> None:
    assert Settings.load({"simulate": word}, environ={}).simulate is False


@pytest.mark.parametrize(
    "word", ["", "y", "t", "2", "-1", "maybe", 2, 1.0, pytest.param(10**5000, id="long")]
)
def test_other_words_are_neither(word: object) -> None:
    assert "must be true or false (or 1/0, yes/no, on/off)" in refused("simulate", word)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("http://host/v1", "http://host"),
        ("http://host/", "http://host"),
        ("http://host/v1/", "http://host"),
        ("http://host", "http://host"),
        (" HTTPS://Host.Example:8443/v1// ", "https://host.example:8443"),
        ("http://gw/openai/v1", "http://gw/openai"),
        ("http://gw/OpenAI/", "http://gw/OpenAI"),
        ("http://gw/v1/openai", "http://gw/v1/openai"),
        ("http://gw/api-v1", "http://gw/api-v1"),
        ("http://[::1]:11434/v1", "http://[::1]:11434"),
        ("http://my_service:80", "http://my_service:80"),
    ],
)
def test_an_address_with_and_without_v1_means_the_same(given: str, meant: str) -> None:
    assert Settings.load({"modal_url": given}, environ={}).modal_url == meant


@given(
    st.from_regex(
        r"https?://[a-z0-9.-]{1,9}(:[1-9][0-9]{1,3})?(/[a-zA-Z0-9]{1,4}){0,2}(/v1)?/{0,2}", fullmatch=True
    )
)
def test_an_address_once_read_reads_as_itself(address: str) -> None:
    once = Settings.load({"modal_url": address}, environ={}).modal_url
    if once and not once.endswith("/v1"):
        assert Settings.load({"modal_url": once}, environ={}).modal_url == once


@pytest.mark.parametrize(
    "address",
    [
        "host", "host:80", "//host", "ftp://host", "http://", "http:///v1", "http://host:port", "http://host:0",
        "http://host:70000", "http://ho st", "http://host/a b", "http://host\n/v1", "http://host\\@x", "http://[::1",
        "http://bücher.example", "http://host:", "https:host", 5, ["http://host"],
    ],
)  # fmt: skip
def test_what_is_no_http_address_is_refused(address: object) -> None:
    refused("modal_url", address)


def test_a_query_or_fragment_in_an_address_is_refused() -> None:
    for address in ("http://host/v1?key=s3cr3t", "http://host/#s3cr3t"):
        assert "no query" in (message := refused("modal_url", address))
        assert "s3cr3t" not in message


def test_numbers_have_ranges() -> None:
    assert 'max_retries="21": must be a whole number from 0 to 20' in refused("max_retries", "21")
    assert "max_retries=2.5: must be a whole number" in refused("max_retries", 2.5)
    assert "timeout=0: must be a number above 0, at most 86400" in refused("timeout", 0)
    assert "cold_start_timeout=-1: must be a number from 0 to 86400" in refused("cold_start_timeout", -1)
    assert "max_connections=0: must be a whole number from 1 to 100000" in refused("max_connections", 0)
    assert "simulate_speed=inf: must be a number above 0" in refused("simulate_speed", float("inf"))
    assert 'timeout="nan": must be a number' in refused("timeout", "nan")
    assert "timeout=true: must be a number" in refused("timeout", True)
    models = {"a": {"modal": {"gpus": 0}}}
    assert "argument models.a.modal.gpus=0: must be a whole number of at least 1" in refused("models", models)


def test_a_name_is_no_address_and_not_empty() -> None:
    models = {"a": {"modal": "https://me:s3cr3t@host/v1"}}
    message = refused("models", models)
    assert "an address is given as `url`" in message
    assert "s3cr3t" not in message
    assert "is empty" in refused("model", "  ")
    assert "must be a name" in refused("model", 5)


@pytest.mark.parametrize("key", ["Bearer x", "a\nb", "“quoted”", "a\x00b", "é"])
def test_a_key_that_no_header_can_carry_is_refused_unseen(key: str) -> None:
    message = refused("together_api_key", key)
    assert "one word of printable ASCII" in message
    assert key not in message


def test_a_key_loses_the_line_break_of_the_file_it_came_from() -> None:
    key = Settings.load(environ={"TOGETHER_API_KEY": "abc\n"}).together_api_key
    assert key is not None
    assert reveal(key) == "abc"


def test_a_key_may_be_a_function_that_is_asked_every_time() -> None:
    keys = iter(["first", "second\n"])
    key = Settings.load({"together_api_key": lambda: next(keys)}, environ={}).together_api_key
    assert key is not None
    assert [reveal(key), reveal(key)] == ["first", "second"]


@pytest.mark.parametrize("returned", ["", "two words", b"bytes", None])
def test_a_function_that_returns_no_key_is_a_configuration_error(returned: object) -> None:
    key = Settings.load({"together_api_key": lambda: returned}, environ={}).together_api_key
    assert key is not None
    with pytest.raises(ConfigurationError, match="the function given as a credential returned"):
        reveal(key)


def test_none_is_unset_where_data_are_made_by_hand() -> None:
    assert ModelTarget(model=None, url=None, api_key=None) == ModelTarget()


def test_settings_cannot_be_changed() -> None:
    settings = Settings.load(environ={"HYBRID_INFER_MODELS__A__MODAL": "x"})
    with pytest.raises(ValidationError, match="frozen"):
        settings.mode = "modal"
    with pytest.raises(ValidationError, match="frozen"):
        settings.models["a"].mode = "modal"
