"""What a user with wrong settings reads."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hybrid_infer.errors import ConfigurationError
from hybrid_infer.settings import Settings


def problems(
    arguments: Mapping[str, object] | None = None, config: str | Path | None = None, /, **environ: str
) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as caught:
        Settings.load(arguments or {}, environ=environ, config=config)
    assert caught.value.__cause__ is None and caught.value.__context__ is None
    return caught.value.problems


def test_a_wrong_mode_is_told_with_variable_value_choices_and_the_nearest() -> None:
    assert problems(HYBRID_INFER_MODE="together-dedicatd") == (
        'HYBRID_INFER_MODE="together-dedicatd": not a mode; use one of together-serverless, '
        "together-dedicated, modal, openai-compatible, hybrid; did you mean together-dedicated?",
    )


@pytest.mark.parametrize(
    ("wrong", "near"),
    [
        ("Modal", "modal"),
        ("together_serverless", "together-serverless"),
        ("dedicated", "together-dedicated"),
        ("hybird", "hybrid"),
    ],
)
def test_the_nearest_mode_is_suggested(wrong: str, near: str) -> None:
    assert problems({"mode": wrong})[0].endswith(f"did you mean {near}?")


def test_nothing_far_fetched_is_suggested() -> None:
    assert "did you mean" not in problems({"mode": "vllm"})[0]
    assert "did you mean" not in problems({"organization": "x"})[0]


def test_all_problems_come_at_once_each_under_the_name_its_writer_used(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    file.write_text('max_keepalive = -1\ntimeuot = 5\n[models.a.modal]\ngpus = "two"\nulr = "x"\n')
    told = problems(
        {"base_url": "ftp://x", "timeout": -1, "modle": "m"},
        file,
        HYBRID_INFER_SIMULATE="maybe",
        HYBRID_INFER_MAX_RETRY="3",
        HYBRID_INFER_MODELS__A__MODAL__GPU=" ",
    )
    assert sorted(told) == sorted(
        [
            'argument base_url="ftp://x": must be an http:// or https:// address with a host',
            "argument timeout=-1: must be a number above 0, at most 86400",
            "argument modle: no such setting; did you mean model?",
            'HYBRID_INFER_SIMULATE="maybe": must be true or false (or 1/0, yes/no, on/off)',
            "HYBRID_INFER_MAX_RETRY: no such setting; did you mean HYBRID_INFER_MAX_RETRIES?",
            'HYBRID_INFER_MODELS__A__MODAL__GPU="": is empty; give a name',
            f"{file}: max_keepalive=-1: must be a whole number from 0 to 100000",
            f"{file}: timeuot: no such setting; did you mean timeout?",
            f'{file}: models.a.modal.gpus="two": must be a whole number of at least 1',
            f"{file}: models.a.modal.ulr: no such setting; did you mean models.a.modal.url?",
        ]
    )


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("HYBRID_INFER_SIMULAT", "HYBRID_INFER_SIMULATE"),
        ("HYBRID_INFER_TOGETHER_KEY", "HYBRID_INFER_TOGETHER_API_KEY"),
        ("HYBRID_INFER_Mode", "HYBRID_INFER_MODE"),
        ("HYBRID_INFER_CONFG", "HYBRID_INFER_CONFIG"),
        ("HYBRID_INFER_MODELS__A__MODAL__ULR", "HYBRID_INFER_MODELS__A__MODAL__URL"),
        ("HYBRID_INFER_MODELS__A__TOGETHER_DEDICATD", "HYBRID_INFER_MODELS__A__TOGETHER_DEDICATED"),
        ("HYBRID_INFER_MODEL__A__MODAL__URL", "HYBRID_INFER_MODELS__A__MODAL__URL"),
        ("HYBRID_INFER_HYBRID__BSAE", "HYBRID_INFER_HYBRID__BASE"),
        ("HYBRID_INFER_HYBRID_BASE", "HYBRID_INFER_HYBRID__BASE"),
        ("HYBRID_INFER_HYBIRD__OVERFLOW", "HYBRID_INFER_HYBRID__OVERFLOW"),
        ("HYBRID_INFER_HYBRID__Base", "HYBRID_INFER_HYBRID__BASE"),
        ("HYBRID_INFER_PURPOSE__NIGHTLY", "HYBRID_INFER_PURPOSES__NIGHTLY"),
        ("HYBRID_INFER_MODELS__A__NEVR_LEAVE", "HYBRID_INFER_MODELS__A__NEVER_LEAVE"),
    ],
)
def test_a_misspelt_variable_is_an_error_that_suggests_the_right_one(wrong: str, right: str) -> None:
    assert problems(**{wrong: "x"}) == (f"{wrong}: no such setting; did you mean {right}?",)


def test_an_unfinished_variable_of_a_model_says_how_they_look() -> None:
    assert "HYBRID_INFER_MODELS__<NAME>__MODE" in problems(HYBRID_INFER_MODELS__A="x")[0]


def test_a_variable_of_a_table_without_a_key_says_which_there_are() -> None:
    keys = "HYBRID_INFER_HYBRID__BASE, …__OVERFLOW, …__MAX_WAIT, …__RETURN_BELOW, …__DWELL, …__CAP"
    for wrong in ("HYBRID_INFER_HYBRID", "HYBRID_INFER_HYBRID__", "HYBRID_INFER_HYBRID__XYZ"):
        assert problems(**{wrong: "x"}) == (f"{wrong}: no such setting; use one of {keys}",)
    for wrong in ("HYBRID_INFER_PURPOSES", "HYBRID_INFER_PURPOSES__"):
        assert problems(**{wrong: "modal"}) == (
            f"{wrong}: no such setting; a purpose has HYBRID_INFER_PURPOSES__<NAME>",
        )


def test_a_misspelt_mode_of_a_model_is_an_error_that_says_what_there_is() -> None:
    told = problems({"models": {"a": {"modl": "x", "gcp": "x"}, "b.c": {"mdoe": "modal"}}})
    assert told == (
        "argument models.a.modl: no such setting; did you mean models.a.modal?",
        "argument models.a.gcp: no such setting; use one of mode, identity, never_leave, "
        "together-serverless, together-dedicated, modal, openai-compatible",
        'argument models."b.c".mdoe: no such setting; did you mean models."b.c".mode?',
    )


def test_what_should_be_a_table_and_is_not_is_told() -> None:
    assert problems({"models": "x"}) == ("argument models: must be a table of models, not text",)
    assert problems({"models": {"a": ["x"]}}) == ("argument models.a: must be a table of modes, not a list",)
    assert problems({"models": {"a": {"modal": 5}}}) == (
        "argument models.a.modal: must be the provider's name of the model, or a table, "
        "not a value of type int",
    )
    assert problems({"hybrid": "modal"}) == (
        "argument hybrid: must be a table with base and overflow, not text",
    )
    assert problems({"purposes": ["a"]}) == (
        "argument purposes: must be a table of purposes, each with its mode, not a list",
    )


def test_bytes_of_the_environment_that_are_no_text_can_be_printed() -> None:
    assert problems(HYBRID_INFER_MODEL="\udcff") == (
        'HYBRID_INFER_MODEL="\\udcff": has characters that are no text',
    )
    assert problems({"models": {"\udcff": {"modal": "x", "mode": "x"}}}) == (
        'argument models."\\udcff": the model\'s name has characters that are no text',
    )
    assert problems(**{"HYBRID_INFER_MODELS__\udcff__MODE": "x"}) == (
        "HYBRID_INFER_MODELS__\\udcff__MODE: the model's name has characters that are no text",
    )
    assert problems(**{"HYBRID_INFER_\udcff": "x"})[0].startswith("HYBRID_INFER_\\udcff: no such setting")


def test_a_value_that_is_no_plain_value_is_told_by_its_type() -> None:
    assert problems({"timeout": object()})[0].endswith("must be a number above 0, at most 86400, "
                                                       "not a value of type object")  # fmt: skip


def test_a_variable_that_fits_two_models_is_an_error() -> None:
    models = {"a-b": {"modal": "x"}, "a.b": {"modal": "x"}}
    assert problems({"models": models}, HYBRID_INFER_MODELS__A_B__MODE="modal") == (
        "HYBRID_INFER_MODELS__A_B__MODE: fits more than one model: a-b, a.b; rename one",
    )


def test_two_variables_for_one_thing_are_an_error() -> None:
    short = "HYBRID_INFER_MODELS__A__MODAL"
    told = problems(**{short: "x", f"{short}__MODEL": "y"})
    assert told == (f"{short}__MODEL: sets the same as {short}; give one of them",)


def test_an_empty_variable_counts_as_not_set_for_keys_and_addresses_only() -> None:
    empty = ("TOGETHER_API_KEY", "HYBRID_INFER_MODAL_URL", "HYBRID_INFER_MODELS__A__MODAL__URL")
    assert Settings.load(environ=dict.fromkeys(empty, "")) == Settings()
    assert "not a mode" in problems(HYBRID_INFER_MODE="")[0]
    assert 'HYBRID_INFER_TIMEOUT="": must be' in problems(HYBRID_INFER_TIMEOUT="")[0]
    assert problems({"together_api_key": ""}) == ("argument together_api_key: is empty",)


def test_a_file_that_is_not_there_is_one_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "none.toml"
    assert problems({}, path) == (f'argument config="{path}": cannot read the file: {os.strerror(2)}',)
    assert problems(HYBRID_INFER_CONFIG=str(path)) == (
        f'HYBRID_INFER_CONFIG="{path}": cannot read the file: {os.strerror(2)}',
    )
    assert "cannot read the file" in problems({}, tmp_path)[0]
    assert "cannot read the file" in problems({}, "a\0b")[0]
    assert problems({}, 3) == (  # type: ignore[arg-type]  # the wrong type is the point
        "argument config: must be the path of a TOML file, not a value of type int",
    )


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b'mode = "modal"\ntimeout 5\n', "line 2"),
        (b'mode = "modal"\n\nmodel = "\xff"\n', "line 3"),
        (b'mode = "modal"\nmode = "modal"\n', "line 2"),
        (b"simulate_seed = " + b"1" * 5000, ""),
        (b"models = " + b"[" * 50_000, ""),
    ],
)
def test_a_file_that_is_not_toml_is_one_clear_error_with_path_and_line(
    content: bytes, line: str, tmp_path: Path
) -> None:
    file = tmp_path / "s.toml"
    file.write_bytes(content)
    (told,) = problems({}, file)
    assert told.startswith(f"{file}: not TOML: ")
    assert line in told


NAMES = st.sampled_from(
    [
        *(variable for option in Settings.options() for variable in option.variables),
        "HYBRID_INFER_MODELS__A__MODAL",
        "HYBRID_INFER_MODELS__A__MODAL__GPUS",
        "HYBRID_INFER_MODELS__",
        "HYBRID_INFER_MODELS__A__NEVER_LEAVE",
        "HYBRID_INFER_PURPOSES__",
        "HYBRID_INFER_PURPOSES__A",
        "HYBRID_INFER_",
    ]
) | st.builds("HYBRID_INFER_{}".format, st.text(st.characters(exclude_characters="\0=")))


@given(st.dictionaries(NAMES, st.text(), max_size=6))
@example(
    {
        "HYBRID_INFER_MODELS__\udcff__MODAL": "\udcff",
        "HYBRID_INFER_MODEL": "\udcff",
        "HYBRID_INFER_\udcff": "",
    }
)
def test_whatever_the_environment_holds_the_outcome_is_settings_or_our_error(environ: dict[str, str]) -> None:
    try:
        assert isinstance(Settings.load(environ=environ), Settings)
    except ConfigurationError as error:
        str(error).encode()


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.text() | st.sampled_from(["a", "mode", "modal", "url", "api_key", "gpus", "base", "overflow"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([*Settings.model_fields, "x"]), ANYTHING, max_size=5))
@example({"mode": "hybrid", "hybrid": {"base": [], "overflow": []}, "fallback": [[]], "purposes": {"": []}})
@example({"mode": [], "fallback": ("\udcff", "x")})
@example({"simulate_seed": 1 << 20_000, "timeout": 1 << 20_000, "model": 1 << 20_000})
def test_whatever_the_arguments_are_the_outcome_is_settings_or_our_error(
    arguments: dict[str, object],
) -> None:
    try:
        assert isinstance(Settings.load(arguments, environ={}), Settings)
    except ConfigurationError as error:
        str(error).encode()


def test_prices_that_contradict_one_another_are_told() -> None:
    variables = {
        "HYBRID_INFER_PRICES__LLM__SECOND": "0.001",
        "HYBRID_INFER_PRICES__LLM__HOUR": "3.6",
        "HYBRID_INFER_PRICES__OTHER__OUTPUT": "1",
        "HYBRID_INFER_PRICES__OTHER__REQUEST": "-1",
    }
    with pytest.raises(ConfigurationError) as caught:
        Settings.load(environ=variables)
    assert sorted(caught.value.problems) == [
        "HYBRID_INFER_PRICES__LLM__HOUR: the same price as HYBRID_INFER_PRICES__LLM__SECOND; "
        "give one of them",
        "HYBRID_INFER_PRICES__OTHER__OUTPUT: a price per token needs prices.other.input, too",
        'HYBRID_INFER_PRICES__OTHER__REQUEST="-1": must be a number of at least 0',
    ]


def test_a_budget_is_in_one_unit_and_says_how_much() -> None:
    found = problems(
        {"budgets": {"day": {"usd": 5, "tokens": 100}, "team": {"per": "hour"}, "x": {"usd": 0}}}
    )
    assert any(
        line.startswith("argument budgets.day.tokens: a budget is in USD or in tokens") for line in found
    )
    assert any("budgets.team.usd or budgets.team.tokens" in line for line in found)
    assert any(line.startswith("argument budgets.x.usd=0") for line in found)
