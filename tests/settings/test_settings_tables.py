"""Mode hybrid, purposes, where a call goes when its target fails, and limits."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_infer.calls.call import CHOICES, MODES
from hybrid_infer.calls.timeouts import PARTS, Timeouts
from hybrid_infer.errors import ConfigurationError
from hybrid_infer.settings import HybridSettings, ModelSettings, Settings, reveal

BOTH = {"base": "together-dedicated", "overflow": "together-serverless"}
PREFIX = "HYBRID_INFER_"
MODES_TOLD = "together-serverless, together-dedicated, modal, openai-compatible"


def load(arguments: Mapping[str, object] | None = None, /, **environ: str) -> Settings:
    return Settings.load(arguments or {}, environ={PREFIX + name: value for name, value in environ.items()})


def from_file(text: str, folder: Path, **environ: str) -> Settings:
    file = folder / "settings.toml"
    file.write_text(text, encoding="utf-8")
    return Settings.load(environ={PREFIX + name: value for name, value in environ.items()}, config=file)


def problems(arguments: Mapping[str, object] | None = None, /, **environ: str) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as caught:
        load(arguments, **environ)
    return caught.value.problems


# Mode hybrid


def test_hybrid_is_set_key_by_key_the_stronger_source_winning(tmp_path: Path) -> None:
    settings = from_file(
        'mode = "hybrid"\n[hybrid]\nbase = "modal"\noverflow = "together-serverless"\ndwell = 5\n',
        tmp_path,
        HYBRID__BASE="together-dedicated",
        HYBRID__CAP="2.5",
    )
    assert settings.mode == "hybrid"
    assert settings.hybrid == HybridSettings(
        base="together-dedicated", overflow="together-serverless", dwell=5, cap=2.5
    )
    assert settings.sources["hybrid.base"] == "environment HYBRID_INFER_HYBRID__BASE"
    assert settings.sources["hybrid.dwell"] == f"file {tmp_path / 'settings.toml'}"
    assert settings.sources["hybrid.max_wait"] == "default"


@pytest.mark.parametrize(
    ("chooser", "where"),
    [
        ({"mode": "hybrid"}, "argument mode"),
        ({"models": {"a": {"modal": "x"}, "b": {"mode": "hybrid"}}}, "argument models.b.mode"),
        ({"purposes": {"day": "modal", "night": "hybrid"}}, "argument purposes.night"),
    ],
)
def test_whoever_chooses_hybrid_needs_base_and_overflow(chooser: dict[str, object], where: str) -> None:
    base = "hybrid.base, the mode where calls go while there is room (or HYBRID_INFER_HYBRID__BASE)"
    overflow = "hybrid.overflow, the mode where they go when there is none (or HYBRID_INFER_HYBRID__OVERFLOW)"
    assert problems(chooser) == (f'{where}="hybrid": needs {base}; and {overflow}',)
    assert problems({**chooser, "hybrid": {"base": "modal"}}) == (f'{where}="hybrid": needs {overflow}',)
    assert problems(chooser, HYBRID__OVERFLOW="modal") == (f'{where}="hybrid": needs {base}',)
    assert load({**chooser, "hybrid": BOTH}).hybrid == HybridSettings.model_validate(BOTH)


def test_many_that_choose_hybrid_are_one_problem_beside_all_others() -> None:
    told = problems({"mode": "hybrid", "timeout": -1, "purposes": {"a": "hybrid"}}, FALLBACK="vllm")
    assert len(told) == 3
    assert told[0].startswith("argument timeout=-1: must be")
    assert told[1].startswith('argument mode="hybrid": needs hybrid.base')
    assert told[2].startswith('HYBRID_INFER_FALLBACK: "vllm" is neither')


def test_base_and_overflow_must_differ() -> None:
    assert problems({"mode": "hybrid", "hybrid": {"base": "modal"}}, HYBRID__OVERFLOW="modal") == (
        'HYBRID_INFER_HYBRID__OVERFLOW="modal": the same as argument hybrid.base; '
        "in mode hybrid calls overflow to another mode",
    )


def test_without_anybody_who_chooses_hybrid_its_table_may_stay_unfinished() -> None:
    assert load({"hybrid": {"base": "modal"}}).hybrid.base == "modal"
    assert load({"hybrid": {"base": "modal", "overflow": "modal"}}).mode == "together-serverless"


def test_hybrid_is_made_of_modes_and_not_of_itself() -> None:
    assert problems({"hybrid": {"base": "hybrid", "overflow": "modl"}}) == (
        f'argument hybrid.base="hybrid": not a mode; use one of {MODES_TOLD}',
        f'argument hybrid.overflow="modl": not a mode; use one of {MODES_TOLD}; did you mean modal?',
    )


def test_numbers_of_hybrid_have_ranges() -> None:
    wrong = {"max_wait": -1, "return_below": 1.5, "dwell": -0.1, "cap": 0}
    assert problems({"hybrid": wrong}) == (
        "argument hybrid.max_wait=-1: must be a number from 0 to 86400",
        "argument hybrid.return_below=1.5: must be a number from 0 to 1",
        "argument hybrid.dwell=-0.1: must be a number from 0 to 86400",
        "argument hybrid.cap=0: must be a number above 0",
    )


def test_a_misspelt_key_of_hybrid_names_the_right_one() -> None:
    assert problems({"hybrid": {"ovrflow": "modal", "xyz": 1}}) == (
        "argument hybrid.ovrflow: no such setting; did you mean hybrid.overflow?",
        "argument hybrid.xyz: no such setting; use one of base, overflow, max_wait, return_below, dwell, cap",
    )


def test_address_and_key_as_arguments_are_those_of_both_modes_where_these_share_them() -> None:
    given = {"mode": "hybrid", "hybrid": BOTH, "api_key": "k", "base_url": "http://h"}
    settings = load(given)
    assert settings.together_api_key is not None
    assert (reveal(settings.together_api_key), settings.together_base_url) == ("k", "http://h")
    assert (settings.api_key, settings.base_url) == (None, None)
    assert problems({**given, "together_api_key": "other"}) == (
        "argument api_key: in mode hybrid this is together_api_key, given too; give one of them",
    )


def test_address_and_key_as_arguments_are_refused_where_base_and_overflow_have_their_own() -> None:
    told = problems(
        {"mode": "hybrid", "hybrid": {"base": "modal", "overflow": "openai-compatible"}, "api_key": "k"},
    )
    assert told == (
        "argument api_key: in mode hybrid it does not say whose it is; "
        "give modal_api_key (for modal) or HYBRID_INFER_API_KEY (for openai-compatible)",
    )


# Purposes


def test_purposes_come_from_all_sources_under_the_names_of_the_file(tmp_path: Path) -> None:
    settings = from_file(
        '[purposes]\nnightly = "modal"\n"re-rank" = "modal"\n[hybrid]\nbase = "modal"\n'
        'overflow = "together-serverless"',
        tmp_path,
        PURPOSES__RE_RANK="together-serverless",
        PURPOSES__New="hybrid",
    )
    assert settings.purposes == {"nightly": "modal", "re-rank": "together-serverless", "new": "hybrid"}
    assert settings.sources["purposes.re-rank"] == "environment HYBRID_INFER_PURPOSES__RE_RANK"


PRINTABLE = st.characters(min_codepoint=33, max_codepoint=0x24F).filter(str.isprintable)


@given(st.text(PRINTABLE, min_size=1), st.sampled_from(MODES))
def test_a_purpose_of_any_name_can_be_reached_by_a_variable(name: str, mode: str) -> None:
    folded = "".join(c if c.isascii() and c.isalnum() else "_" for c in name.upper())
    with TemporaryDirectory() as folder:
        table = f"[purposes]\n{json.dumps(name)} = 'modal'\n"
        settings = from_file(table, Path(folder), **{f"PURPOSES__{folded}": mode})
    assert settings.purposes == {name: mode}
    assert [row.source for row in settings.explain() if row.value == mode][-1].startswith("environment ")


def test_a_wrong_mode_of_a_purpose_is_told_under_its_own_name() -> None:
    told = f"not a mode; use one of {', '.join(CHOICES)}; did you mean modal?"
    assert problems({"purposes": {"nightly": "modl"}}) == (f'argument purposes.nightly="modl": {told}',)
    assert problems(PURPOSES__NIGHTLY="modl") == (f'HYBRID_INFER_PURPOSES__NIGHTLY="modl": {told}',)


def test_a_variable_that_fits_two_purposes_and_two_for_one_are_errors() -> None:
    assert problems({"purposes": {"a-b": "modal", "a.b": "modal"}}, PURPOSES__A_B="modal") == (
        "HYBRID_INFER_PURPOSES__A_B: fits more than one purpose: a-b, a.b; rename one",
    )
    assert problems(PURPOSES__A="modal", PURPOSES__a="modal") == (
        "HYBRID_INFER_PURPOSES__a: sets the same as HYBRID_INFER_PURPOSES__A; give one of them",
    )
    assert problems(**{"PURPOSES__\udcff": "modal"}) == (
        "HYBRID_INFER_PURPOSES__\\udcff: the purpose's name has characters that are no text",
    )


# Fallback


@pytest.mark.parametrize("written", [["modal", "a"], ("modal", "a"), "modal, a", " modal ,a "])
def test_fallback_is_a_list_or_text_with_commas(written: object) -> None:
    models = {"a": {"modal": "x"}}
    assert load({"models": models, "fallback": written}).fallback == ("modal", "a")


def test_an_empty_fallback_takes_away_that_of_the_file(tmp_path: Path) -> None:
    text = 'fallback = ["modal"]'
    assert from_file(text, tmp_path).fallback == ("modal",)
    assert from_file(text, tmp_path, FALLBACK="").fallback == ()


def test_a_fallback_that_is_no_mode_and_no_model_is_told_with_both_lists() -> None:
    models = {"models": {"assistant": {"modal": "x"}, "coder": {"modal": "y"}}}
    told = f"is neither a mode ({MODES_TOLD}) nor a configured model (assistant, coder)"
    assert problems({**models, "fallback": ["vllm", "modal"]}) == (f'argument fallback: "vllm" {told}',)
    assert problems(models, FALLBACK="together_serverless, assitant") == (
        f'HYBRID_INFER_FALLBACK: "together_serverless" {told}; did you mean together-serverless?',
        f'HYBRID_INFER_FALLBACK: "assitant" {told}; did you mean assistant?',
    )
    assert problems({"fallback": "a"})[0].endswith("nor a configured model (there is none)")


def test_a_model_that_a_variable_configures_can_be_fallen_back_to() -> None:
    assert load(MODELS__A__MODAL="x", FALLBACK="a").fallback == ("a",)


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("modal,,modal", '="modal,,modal": has an empty entry'),
        (["modal", 3], ": has an entry that is not text"),
        (3, "=3: must be modes or names of models, in a list or in a text with commas"),
        ({"a": 1}, ": must be modes or names of models, in a list or in a text with commas, not a table"),
        (["\udcff"], ": has characters that are no text"),
    ],
)
def test_what_is_no_list_of_names_is_refused(written: object, why: str) -> None:
    (told,) = problems({"fallback": written})
    assert told.startswith(f"argument fallback{why}")


# Of a model, and of a model in one mode


def test_limits_are_those_of_all_targets_and_of_one(tmp_path: Path) -> None:
    settings = from_file(
        "max_in_flight = 8\nadaptive = true\n[models.a]\nnever_leave = true\n"
        '[models.a.modal]\nmodel = "x"\nmax_in_flight = 4\nmax_queue = 0\nadaptive = false\n',
        tmp_path,
        MODELS__A__MODAL__REQUESTS_PER_MINUTE="90",
        MODELS__B__NEVER_LEAVE="no",
        TOKENS_PER_MINUTE="1e5",
    )
    assert (settings.max_in_flight, settings.adaptive, settings.tokens_per_minute) == (8, True, 1e5)
    target = settings.models["a"].target("modal")
    assert target is not None
    assert (target.max_in_flight, target.max_queue, target.adaptive) == (4, 0, False)
    assert (target.requests_per_minute, target.tokens_per_minute, target.max_wait) == (90, None, None)
    assert settings.models["a"].never_leave is True
    assert settings.models["b"] == ModelSettings(never_leave=False)


def test_new_settings_have_ranges_and_words() -> None:
    wrong = {
        "on_cold": "wiat",
        "on_stream_break": "continue",
        "between_tokens_timeout": 0,
        "retry_budget": 1.1,
        "max_in_flight": 0,
        "requests_per_minute": 0,
        "max_queue": -1,
        "redis_prefix": "",
    }
    assert problems(wrong) == (
        'argument on_cold="wiat": not known; use one of wait, overflow; did you mean wait?',
        'argument on_stream_break="continue": not known; use one of error, restart',
        "argument between_tokens_timeout=0: must be a number above 0, at most 86400",
        "argument retry_budget=1.1: must be a number from 0 to 1",
        "argument max_in_flight=0: must be a whole number of at least 1",
        "argument requests_per_minute=0: must be a number above 0",
        "argument max_queue=-1: must be a whole number of at least 0",
        'argument redis_prefix="": is empty; give a name',
    )


@pytest.mark.parametrize(
    "url", ["redis://host", "rediss://:pw@host:6380/1", "redis://[::1]:6379", "unix:///run/redis.sock?db=1"]
)
def test_the_address_of_redis_is_kept_as_a_secret(url: str) -> None:
    found = load(REDIS_URL=f" {url}\n").redis_url
    assert found is not None
    assert found.get_secret_value() == url
    assert url not in repr(found)


@pytest.mark.parametrize(
    "url",
    ["host:6379", "http://host", "redis://", "redis://host:0", "unix://", "redis://a b", 5, ["redis://h"]],
)
def test_what_is_no_address_of_redis_is_refused_unseen(url: object) -> None:
    assert problems({"redis_url": url})[0].startswith(
        "argument redis_url: must be an address such as redis://host:6379/0 (or rediss://, or unix:///path)"
    )


def test_an_empty_variable_counts_as_no_redis() -> None:
    assert load(REDIS_URL="").redis_url is None


# Timeouts


def test_timeouts_as_an_argument_are_settings_of_their_own() -> None:
    settings = load(
        {"timeout": Timeouts(total=60, first_token=2, cold_start=0), "attempt_timeout": 30},
        CONNECT_TIMEOUT="3",
        TIMEOUT="50",
    )
    assert (settings.timeout, settings.first_token_timeout, settings.cold_start_timeout) == (60, 2, 0)
    assert (settings.attempt_timeout, settings.connect_timeout) == (30, 3)
    assert settings.between_tokens_timeout == 60
    assert settings.sources["first_token_timeout"] == settings.sources["timeout"] == "argument"


def test_every_part_of_timeouts_has_its_setting() -> None:
    given = dict(zip(PARTS, (60.0, 50.0, 40.0, 30.0, 20.0, 10.0), strict=True))
    settings = load({"timeout": Timeouts(**given)})
    for part, seconds in given.items():
        name = "timeout" if part == "total" else f"{part}_timeout"
        assert (getattr(settings, name), settings.sources[name]) == (seconds, "argument")


def test_a_part_given_both_ways_is_an_error() -> None:
    assert problems({"timeout": Timeouts(attempt=3), "attempt_timeout": 5}) == (
        "argument timeout.attempt: sets the same as argument attempt_timeout; give one of them",
    )


def test_a_part_that_is_wrong_is_told_as_it_was_written() -> None:
    assert problems({"timeout": Timeouts(attempt=-1)}) == (
        "argument timeout.attempt=-1: must be a number above 0, at most 86400",
    )
