"""Live prices: the providers' lists in the shapes they have, and the file that keeps them."""

from __future__ import annotations

import logging
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_infer.errors import APIConnectionError, APIError, APIResponseError
from hybrid_infer.prices.cache import kept, read, write
from hybrid_infer.prices.live import LiveList, fetch_together, from_json, merged, modal_rates, to_json
from hybrid_infer.prices.tables import GpuPrice, ResourcePrice, Tables, TokenPrice, UnitPrice

NOW = datetime(2026, 11, 25, 12, 30, tzinfo=UTC)
SERVERLESS, DEDICATED = "together-serverless", "together-dedicated"

MODELS: list[Any] = [
    {
        "id": "Qwen/Qwen3.5-9B", "object": "model", "created": 0, "type": "chat",
        "pricing": {"hourly": 0, "input": 0.17, "output": 0.25, "base": 0, "finetune": 0,
                    "cached_input": 0.02},
    },
    {"id": "openai/whisper-large-v3", "object": "model", "type": "transcribe",
     "pricing": {"hourly": 0, "input": 0, "output": 0, "transcribe": {"price_per_minute": 0.0015}}},
    {"id": "acme/private-endpoint", "object": "model", "type": "chat",
     "pricing": {"hourly": 0, "input": 0, "output": 0, "base": 0, "finetune": 0}},
    {"id": "no/pricing", "object": "model", "type": "image"},
    {"id": "odd/pricing", "type": "chat", "pricing": {"input": "free", "output": None}},
    {"id": None, "pricing": {"input": 1, "output": 1}},
    "not a model",
]  # fmt: skip
"""As `GET /v1/models` answered on 2026-10-02: a bare array."""

SUPPORTED = {
    None: {
        "object": "list",
        "data": [{"id": "zai-org/GLM-5.3", "pricing": {"input": 1.4, "output": 4.4, "cachedInput": 0.26}}],
        "next_cursor": "two",
    },
    "two": {
        "object": "list",
        "data": [
            {"id": "Qwen/Qwen3.5-9B", "pricing": {"input": 0.18, "output": 0.26}},
            {"id": "d", "products": []},
        ],
        "next_cursor": None,
    },
}

INSTANCES: dict[str, Any] = {
    "object": "list",
    "data": [
        {"id": "i8", "name": "8xnvidia-h100-80gb", "gpuType": "nvidia-h100-80gb", "gpuCount": 8,
         "gpuMemoryGib": 640, "priceCentsPerHour": 4400, "regions": [{"name": "us"}]},
        {"id": "i1", "name": "1xnvidia-h100-80gb", "gpuType": "nvidia-h100-80gb", "gpuCount": 1,
         "gpuMemoryGib": 80, "priceCentsPerHour": 549, "regions": [{"name": "us"}]},
        {"id": "g", "name": "4xnvidia-gb300", "gpuType": "nvidia-gb300", "gpuCount": 4,
         "priceCentsPerHour": 6000},
        {"id": "s", "name": "1xnvidia-b300", "gpuType": "nvidia-b300", "gpuCount": 1},
    ],
}  # fmt: skip


def answer(path: str) -> object:
    if path == "/v1/models":
        return MODELS
    if path.startswith("/v2/supported-models"):
        return SUPPORTED[path.partition("?after=")[2] or None]
    assert path == "/v2/public/inference-instance-types"
    return INSTANCES


def fetched() -> list[LiveList]:
    lists, failed = fetch_together(answer, NOW)
    assert failed == {}
    return lists


def rows(name: str) -> Tables:
    return next(one.rows for one in fetched() if one.name == name)


def test_the_catalogue_is_read_in_usd_per_million_tokens() -> None:
    found = rows("together-models")
    assert set(found.tokens) == {(SERVERLESS, "Qwen/Qwen3.5-9B")}
    qwen = found.tokens[SERVERLESS, "Qwen/Qwen3.5-9B"]
    assert (qwen.input, qwen.output, qwen.cached) == (170_000_000, 250_000_000, 20_000_000)
    assert (qwen.as_of, "/v1/models" in qwen.source) == (date(2026, 11, 25), True)
    assert "does not say that the model is served" in str(qwen.note)


def test_what_is_not_paid_by_tokens_has_no_price_of_0() -> None:
    """The catalogue says 0 for models that are paid by the minute, and for private endpoints."""
    found = rows("together-models")
    assert (SERVERLESS, "acme/private-endpoint") not in found.tokens
    assert found.units[SERVERLESS, "openai/whisper-large-v3"].nano == 1_500_000


def test_all_pages_of_the_supported_models_are_read() -> None:
    found = rows("together-supported-models")
    assert {model for _, model in found.tokens} == {"zai-org/GLM-5.3", "Qwen/Qwen3.5-9B"}
    assert found.tokens[SERVERLESS, "zai-org/GLM-5.3"].cached == 260_000_000


def test_instance_types_give_the_price_of_one_gpu_under_every_name_of_the_card() -> None:
    found = rows("together-instances").gpus
    assert found[DEDICATED, "h100"].nano_per_hour == 5_490_000_000
    assert found[DEDICATED, "h100"] is found[DEDICATED, "h100-80gb"]
    assert found[DEDICATED, "gb300"].nano_per_hour == 15_000_000_000
    assert (DEDICATED, "b300") not in found


def test_the_list_that_states_its_unit_wins() -> None:
    assert merged(fetched()).tokens[SERVERLESS, "Qwen/Qwen3.5-9B"].input == 180_000_000
    assert merged(reversed(fetched())).tokens[SERVERLESS, "Qwen/Qwen3.5-9B"].input == 180_000_000


def test_a_list_that_fails_leaves_the_others() -> None:
    def fails(path: str) -> object:
        if path == "/v1/models":
            raise APIConnectionError("no route")
        return answer(path)

    lists, failed = fetch_together(fails, NOW)
    assert {one.name for one in lists} == {"together-supported-models", "together-instances"}
    assert {name: str(error) for name, error in failed.items()} == {"together-models": "no route"}


@pytest.mark.parametrize("body", [{"error": "x"}, "text", None, {"data": {}}])
def test_an_answer_of_another_shape_is_an_error(body: object) -> None:
    lists, failed = fetch_together(lambda _: body, NOW)
    assert (lists, len(failed)) == ([], 3)
    assert all(isinstance(error, APIResponseError) for error in failed.values())


def test_pages_without_end_are_an_error() -> None:
    _, failed = fetch_together(lambda _: {"data": [], "next_cursor": "again"}, NOW)
    assert "more than 100 pages" in str(failed["together-models"])


def test_rates_of_modal_are_per_hour_and_those_of_sandboxes_are_left_out() -> None:
    found = modal_rates(
        {
            "gpu_hour_cost_h100": "3.95", "gpu_hour_cost_a100_80gb": 2.5, "cpu_hour_cost": 0.0473,
            "mem_gib_hour_cost": 0.008, "cpu_hour_cost_sandbox": 0.142, "gpu_hour_cost_odd": "?", "new": 1,
        },
        NOW,
    ).rows  # fmt: skip
    assert {key for _, key in found.gpus} == {"h100", "h100-80gb", "a100-80gb", "a100-80"}
    assert found.gpus["modal", "h100"].nano_per_hour == 3_950_000_000
    assert found.resources["modal", "cpu"].nano_per_hour == 47_300_000
    assert found.resources["modal", "memory"].nano_per_hour == 8_000_000


def test_rates_without_a_gpu_are_an_error() -> None:
    with pytest.raises(APIError, match="no GPU prices"):
        modal_rates({}, NOW)


def test_what_is_kept_is_read_back_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "prices.json"
    lists = [*fetched(), modal_rates({"gpu_hour_cost_h100": 3.95, "cpu_hour_cost": 0.05}, NOW)]
    write(file, lists)
    assert read(file) == lists
    assert [path.name for path in file.parent.iterdir()] == ["prices.json"]
    found = kept(file)()
    assert found is not None
    assert found == merged(lists)


AMOUNT = st.integers(0, 10**12)
TEXT = st.text(max_size=9)


@given(
    st.dictionaries(TEXT, st.tuples(AMOUNT, st.none() | AMOUNT, st.none() | AMOUNT, TEXT, st.none() | TEXT)),
    st.dictionaries(TEXT, AMOUNT),
    st.dictionaries(TEXT, AMOUNT),
    st.datetimes(timezones=st.just(UTC)),
)
def test_any_list_survives_the_file(
    tokens: dict[str, Any], gpus: dict[str, int], units: dict[str, int], at: datetime
) -> None:
    day = at.date()
    one = LiveList(
        name="together-models",
        fetched=at,
        rows=Tables(
            tokens={
                (SERVERLESS, model): TokenPrice(
                    model=model,
                    input=price,
                    output=output,
                    cached=cached,
                    source=source,
                    note=note,
                    as_of=day,
                )
                for model, (price, output, cached, source, note) in tokens.items()
            },
            gpus={
                (DEDICATED, gpu): GpuPrice(gpu=gpu, nano_per_hour=hourly, source="s", as_of=day)
                for gpu, hourly in gpus.items()
            },
            units={
                (SERVERLESS, model): UnitPrice(model=model, unit="minute", nano=nano, source="s", as_of=day)
                for model, nano in units.items()
            },
            resources={
                ("modal", "cpu"): ResourcePrice(resource="cpu", nano_per_hour=7, source="s", as_of=day)
            },
        ),
    )
    assert from_json(to_json([one])) == [one]


def test_no_file_is_no_prices(tmp_path: Path) -> None:
    assert read(tmp_path / "none.json") == []
    assert kept(tmp_path / "none.json")() == Tables()
    assert kept(None)() is None


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "{}", '{"version": 2}', '{"version": 1, "lists": {"x": {"fetched": "soon"}}}']
)
def test_a_file_that_is_not_ours_is_logged_and_the_shipped_prices_count(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: str
) -> None:
    file = tmp_path / "prices.json"
    file.write_text(content)
    with pytest.raises(ValueError, match=r".+"):
        read(file)
    with caplog.at_level(logging.WARNING, "hybrid_infer"):
        assert kept(file)() is None
    assert "cannot be used" in caplog.text
