"""The shipped price tables: each row is whole, dated and sourced."""

from __future__ import annotations

import tomllib
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import hybrid_infer.prices
from hybrid_infer.calls.call import MODES
from hybrid_infer.prices.tables import FILES, shipped

DATA = Path(hybrid_infer.prices.__file__).with_name("data")
TABLES: dict[str, dict[str, Any]] = {
    path.stem: tomllib.loads(path.read_text("utf-8"), parse_float=Decimal)
    for path in sorted(DATA.glob("*.toml"))
}
TOKEN_ROWS = [
    pytest.param(row, id=row["model"]) for table in TABLES.values() for row in table.get("tokens", ())
]
GPU_ROWS = [
    pytest.param(row, id=f"{table['mode']}-{row['gpu']}")
    for table in TABLES.values()
    for row in table.get("gpus", ())
]
OTHER_ROWS = [
    *(row for table in TABLES.values() for row in table.get("resources", ())),
    *(table["batch"] for table in TABLES.values() if "batch" in table),
]
UNIT_ROWS = [
    pytest.param(row, id=row["model"])
    for table in TABLES.values()
    for unit in ("megapixels", "minutes")
    for row in table.get(unit, ())
]
COMPARED = [
    other
    for table in TABLES.values()
    for row in (*table.get("tokens", ()), *table.get("gpus", ()))
    for other in row.get("others", ())
]


def whole_nano(usd: Decimal) -> bool:
    return usd > 0 and usd.scaleb(9) == usd.scaleb(9).to_integral_value()


def test_every_table_in_the_folder_is_loaded() -> None:
    assert set(TABLES) == set(FILES)


@pytest.mark.parametrize("table", TABLES.values(), ids=list(TABLES))
def test_a_table_names_a_mode_and_nothing_unknown(table: dict[str, Any]) -> None:
    assert table["mode"] in MODES
    assert set(table) <= {"mode", "tokens", "gpus", "resources", "megapixels", "minutes", "batch"}


@pytest.mark.parametrize("row", [*TOKEN_ROWS, *GPU_ROWS, *OTHER_ROWS, *UNIT_ROWS, *COMPARED])
def test_a_row_says_when_and_where_its_price_was_read(row: dict[str, Any]) -> None:
    assert date(2026, 1, 1) < row["as_of"] <= date(2026, 11, 25)
    assert len(row["source"]) >= 10
    assert not any(word in row["source"] + row.get("note", "") for word in ("/work", "/tmp", "/home"))
    assert isinstance(row.get("retires", date.max), date)


@pytest.mark.parametrize("row", TOKEN_ROWS)
def test_token_prices_are_positive_and_cached_input_is_cheaper(row: dict[str, Any]) -> None:
    assert set(row) <= {"model", "input", "output", "cached", "as_of", "retires", "source", "note", "others"}
    assert all(whole_nano(row[key]) for key in ("input", "output", "cached") if key in row)
    assert row.get("cached", Decimal(0)) < row["input"]


@pytest.mark.parametrize("row", GPU_ROWS)
def test_a_gpu_has_one_price(row: dict[str, Any]) -> None:
    assert set(row) <= {
        "gpu", "also", "usd_per_second", "usd_per_hour", "as_of", "retires", "source", "note", "others",
    }  # fmt: skip
    (unit,) = {"usd_per_second", "usd_per_hour"} & set(row)
    assert whole_nano(row[unit])


@pytest.mark.parametrize("row", UNIT_ROWS)
def test_what_is_paid_by_another_unit_has_a_price_and_its_steps(row: dict[str, Any]) -> None:
    assert set(row) <= {"model", "usd", "steps", "as_of", "retires", "source", "note"}
    assert whole_nano(row["usd"])
    assert row.get("steps", 1) >= 1


def test_every_row_is_in_the_tables_once() -> None:
    rows = [row for _, row in shipped().rows()]
    assert len(rows) == len(TOKEN_ROWS) + len(GPU_ROWS) + len(OTHER_ROWS) + len(UNIT_ROWS)
    assert len({id(row) for row in rows}) == len(rows)
    compared = [other for row in rows for other in row.others]
    assert len(compared) == len(COMPARED) > 5


def test_no_row_hides_another() -> None:
    assert len(shipped().tokens) == len(TOKEN_ROWS)
    rows = [row for table in TABLES.values() for row in table.get("gpus", ())]
    assert len(shipped().gpus) == sum(1 + len(row.get("also", ())) for row in rows)


def test_rows_of_modal_and_together_with_the_same_card_stay_apart() -> None:
    gpus = shipped().gpus
    assert gpus["modal", "h100"].nano_per_hour == 3_949_200_000
    assert gpus["together-dedicated", "h100"].nano_per_hour == 5_490_000_000
