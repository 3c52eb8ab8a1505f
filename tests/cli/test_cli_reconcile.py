"""`hybrid-infer reconcile`: bills from the providers or from files, against the ledger."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from hybrid_infer.calls.records import unix_ns
from stores.ledger_samples import HOUR, RATE, SECOND, on_machine, simple, write

Cli = Callable[..., Any]

KEY = "tgp_do-not-show-this"
DAY = datetime(2026, 10, 20, tzinfo=UTC)
MODEL = "acme/assistant"
RANGE = ("--from", "2026-10-20", "--to", "2026-10-21")


def report(*days: list[dict[str, Any]], cursor: str | None = None, first: int = 20) -> dict[str, Any]:
    windows = [{"date": f"2026-10-{first + n}", "line_items": items} for n, items in enumerate(days)]
    return {"object": "list", "currency": "USD", "data": windows, "next_cursor": cursor}


def items(into: int, out: int, model: str = "m") -> list[dict[str, Any]]:
    """Line items; a token costs 0.5 and 1.5 millionths of a dollar."""
    return [
        {
            "product_name": f"Serverless Inference - {kind} Tokens",
            "quantity": str(count),
            "unit_price": price,
            "cost": str(Decimal(price) * count),
            "pricing_dimensions": {"model": model},
            "attributes": {"api_key": "k_1"},
        }
        for kind, count, price in (("Input", into, "0.0000005"), ("Output", out, "0.0000015"))
    ]


class Bills(ThreadingHTTPServer):
    """Together's bills behind a real address."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.pages: list[Any] = []
        self.status = 200
        self.asked: list[tuple[str, str | None]] = []


class _Answer(BaseHTTPRequestHandler):
    server: Bills

    def do_GET(self) -> None:
        bills = self.server
        bills.asked.append((self.path, self.headers["authorization"]))
        body = json.dumps(bills.pages[len(bills.asked) - 1]).encode()
        self.send_response(bills.status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def together(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bills]:
    with Bills() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv("TOGETHER_BASE_URL", f"http://127.0.0.1:{server.server_address[1]}")
        monkeypatch.setenv("TOGETHER_API_KEY", KEY)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def ledger(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two days of serverless calls, 1,000 tokens in and 100 out each; Modal's package is not installed."""
    monkeypatch.setitem(sys.modules, "modal", None)
    path = folder / "l.sqlite"
    monkeypatch.setenv("HYBRID_INFER_LEDGER", str(path))
    records = [simple(began_ns=unix_ns(DAY) + n * 12 * HOUR + HOUR, cost_nano=650_000) for n in range(4)]
    for one in records:
        (tried,) = one.tries
        tried.began_ns, tried.input_tokens, tried.output_tokens = one.began_ns, 1000, 100
    write(path, records)
    return path


def compared(cli: Cli, *arguments: str) -> Any:
    result = cli("reconcile", *RANGE, "--json", *arguments)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def causes(found: Any) -> list[str | None]:
    return ["" if row["agrees"] else row["cause"] for row in found["rows"]]


def test_together_is_asked_for_each_day_page_by_page(cli: Cli, together: Bills) -> None:
    together.pages = [report(items(2000, 200), cursor="c/1"), report(items(2000, 200), first=21)]
    found = compared(cli)
    assert causes(found) == ["", ""]
    assert [row["billed_usd"] for row in found["rows"]] == [0.0013, 0.0013]
    asked = [(urlsplit(path).path, parse_qs(urlsplit(path).query), key) for path, key in together.asked]
    first = {"month": ["2026-10"], "granularity": ["day"], "limit": ["1000"]}
    assert asked == [
        ("/v1/billing/usage", first, f"Bearer {KEY}"),
        ("/v1/billing/usage", {**first, "after": ["c/1"]}, f"Bearer {KEY}"),
    ]


def test_each_month_of_the_range_is_asked_for(cli: Cli, together: Bills) -> None:
    together.pages = [report()] * 3
    cli("reconcile", "--from", "2026-10-20", "--to", "2026-12-01")
    months = [parse_qs(urlsplit(path).query)["month"][0] for path, _ in together.asked]
    assert months == ["2026-10", "2026-11", "2026-12"]


def test_the_table_names_the_cause_and_what_speaks_for_it(cli: Cli, together: Bills) -> None:
    together.pages = [report(items(2000, 200), items(9000, 900))]
    result = cli("reconcile", *RANGE)
    rows = [line.split() for line in result.stdout.splitlines()]
    assert ["2026-10-20", "together-serverless", "m", "0.00130", "0.00130"] in rows
    assert "0.00455 +350.0% outside" in " ".join(" ".join(row) for row in rows)
    assert "outside: together-serverless/m: tokens for $0.0046 were billed" in result.stdout
    assert "The ledger has $0.00260, the bills $0.00715; 1 of 2 lines differ." in result.stdout


def test_a_bill_of_another_shape_is_refused_and_says_where(cli: Cli, together: Bills) -> None:
    """Nothing is guessed: a field that is missing is no 0."""
    broken = report(items(2000, 200))
    del broken["data"][0]["line_items"][0]["cost"]
    together.pages = [broken]
    result = cli("reconcile", *RANGE)
    assert result.exit_code == 1
    assert "not a bill as it is known: cost is None, and no number" in " ".join(result.stderr.split())


def test_a_key_that_is_refused_is_told_and_not_shown(cli: Cli, together: Bills) -> None:
    together.pages, together.status = [{}], 403
    result = cli("reconcile", *RANGE)
    assert result.exit_code == 1
    assert "Together: not compared: " in result.stderr
    assert "the key is not accepted" in result.stderr
    assert KEY not in result.output


def test_without_a_key_and_a_file_there_is_nothing_to_compare(cli: Cli) -> None:
    result = cli("reconcile", *RANGE)
    assert result.exit_code == 1
    assert "set TOGETHER_API_KEY" in result.stderr
    assert "error: there is no bill to compare with" in result.stderr


def test_days_without_calls_are_told(cli: Cli) -> None:
    result = cli("reconcile", "--from", "2026-09-01", "--to", "2026-09-02")
    assert result.exit_code == 1
    assert "the ledger has no calls from 2026-09-01 to 2026-09-02" in result.stderr


def bill(folder: Path, text: str, name: str = "bill") -> str:
    (folder / name).write_text(text)
    return str(folder / name)


def test_exported_bills_are_read_instead_and_nobody_is_asked(cli: Cli, folder: Path, together: Bills) -> None:
    page = bill(folder, json.dumps(report(items(2000, 200), items(2000, 200))))
    assert causes(compared(cli, "--bill", page)) == ["", ""]
    pages = [report(items(2000, 200)), report(items(2000, 200), first=21)]
    assert causes(compared(cli, "--bill", bill(folder, json.dumps(pages)))) == ["", ""]
    table = "day,mode,model,cost_usd\n2026-10-20,together-serverless,m,0.0013\n"
    assert causes(compared(cli, "--bill", bill(folder, table))) == ["", "not-billed-yet"]
    assert together.asked == []


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("{", "it is not JSON"),
        ('{"object": "list", "currency": "EUR", "data": []}', "only USD is understood"),
        ('[{"object_id": "ap-1"}]', "cost is None, and no number"),
        ("a,b\n1,2\n", "neither those of `modal billing report --csv`"),
        ("day,mode,model,cost_usd\n2026-10-20,serverless,m,1\n", "mode 'serverless': must be one of"),
        ("day,mode,model,cost_usd\nsoon,modal,m,1\n", "'soon' is no day"),
        ("day,mode,model,cost_usd\n2026-10-20,modal,m,NaN\n", "cost_usd is 'NaN', and no number"),
    ],
)
def test_a_file_that_is_no_bill_is_one_clear_error(cli: Cli, folder: Path, text: str, what: str) -> None:
    result = cli("reconcile", *RANGE, "--bill", bill(folder, text))
    assert result.exit_code == 1
    assert f"--bill {folder / 'bill'}: " in result.stderr
    assert what in result.stderr
    missing = cli("reconcile", *RANGE, "--bill", "nothing.json")
    assert "--bill nothing.json: cannot be read" in missing.stderr


def test_what_has_another_name_is_told_and_can_be_named(cli: Cli, folder: Path) -> None:
    """A dedicated endpoint that the bill calls by its number. No name is taken for a similar one."""
    path = folder / "d.sqlite"
    began = unix_ns(DAY) + HOUR
    call = on_machine(
        "a",
        began,
        began + HOUR,
        HOUR,
        mode="together-dedicated",
        machine="together-dedicated h acme/assistant",
    )
    write(path, [call])
    line = {
        "product_name": "Dedicated Inference", "quantity": "1", "unit_price": "3.95", "cost": "3.95",
        "pricing_dimensions": {"gpu": "H100"}, "attributes": {"deployment": "dep_1a2b"},
    }  # fmt: skip
    page = bill(folder, json.dumps(report([line])))
    found = compared(cli, "--ledger", str(path), "--bill", page)
    assert found["rows"][0]["billed_usd"] is None
    (other,) = found["not_compared"]
    assert (other["names"], other["billed_usd"]) == (["H100", "dep_1a2b"], 3.95)
    shown = cli("reconcile", *RANGE, "--ledger", str(path), "--bill", page)
    assert "Not compared, since the ledger has nothing of these names: $3.9500" in shown.stderr
    named = compared(
        cli, "--ledger", str(path), "--bill", page, "--as", "dep_1a2b=together-dedicated/acme/assistant"
    )
    assert named["not_compared"] == []
    assert named["rows"][0]["billed_usd"] == 3.95
    assert cli("reconcile", "--as", "dep_1a2b").exit_code == 2


@dataclass
class Item:
    """`modal.types.BillingReportItem`."""

    object_id: str
    description: str
    environment_name: str
    interval_start: datetime
    cost: Decimal
    cost_by_resource: dict[str, Decimal]
    tags: dict[str, str]


@pytest.fixture
def modal_ledger(folder: Path) -> Path:
    path = folder / "m.sqlite"
    began = unix_ns(DAY) + HOUR
    machine = "modal acme--llm-serve.us-east.modal.direct llm"
    call = on_machine("a", began, began + HOUR - 60 * SECOND, HOUR, machine=machine, model="llm")
    call.tries[0].model = "llm"
    write(path, [call])
    return path


def test_modal_is_asked_through_its_package(
    cli: Cli, modal_ledger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cost = Decimal(RATE).scaleb(-9)
    asked: list[dict[str, Any]] = []

    def billing_report(**options: Any) -> list[Item]:
        asked.append(options)
        return [
            Item("ap-1", "llm", "main", DAY, cost, {}, {}),
            Item("ap-2", "other", "main", DAY, cost, {}, {}),
        ]

    package = ModuleType("modal")
    workspace = SimpleNamespace(billing=SimpleNamespace(report=billing_report))
    vars(package)["Workspace"] = SimpleNamespace(from_context=lambda client: workspace)
    monkeypatch.setitem(sys.modules, "modal", package)
    found = compared(cli, "--ledger", str(modal_ledger))
    assert causes(found) == [""]
    assert (found["rows"][0]["model"], found["rows"][0]["billed_usd"]) == ("llm", 3.95)
    assert [line["product"] for line in found["not_compared"]] == ["other"]
    assert asked == [{"start": DAY, "end": DAY + timedelta(days=2), "resolution": "d"}]


def test_what_modal_s_package_says_is_told(
    cli: Cli, modal_ledger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = cli("reconcile", *RANGE, "--ledger", str(modal_ledger))
    assert "Modal: not compared: Modal's bill comes through its package" in missing.stderr
    package = ModuleType("modal")

    def from_context(client: object) -> None:
        raise PermissionError("billing is not for members")

    vars(package)["Workspace"] = SimpleNamespace(from_context=from_context)
    monkeypatch.setitem(sys.modules, "modal", package)
    result = cli("reconcile", *RANGE, "--ledger", str(modal_ledger))
    assert "billing is not for members" in result.stderr
    assert "owners and managers" in result.stderr


@pytest.mark.parametrize("json_rows", [True, False])
def test_what_modal_s_command_exports_is_read(
    cli: Cli, modal_ledger: Path, folder: Path, json_rows: bool
) -> None:
    """As `modal billing report` prints it, with --json or --csv."""
    row = {
        "Object ID": "ap-1", "Description": "llm", "Environment": "main",
        "Interval Start": "2026-10-20T00:00:00", "Cost": "3.9",
    }  # fmt: skip
    if json_rows:
        text = json.dumps([{name.lower().replace(" ", "_"): value for name, value in row.items()}])
    else:
        text = f"{','.join(row)}\n{','.join(row.values())}\n"
    found = compared(cli, "--ledger", str(modal_ledger), "--bill", bill(folder, text))
    assert causes(found) == [""]


def test_days_are_checked(cli: Cli) -> None:
    for wrong in (("--from", "soon"), ("--from", "2026-10-02", "--to", "2026-10-01")):
        assert cli("reconcile", *wrong).exit_code == 2


def test_without_days_it_is_this_month_until_yesterday(cli: Cli, together: Bills) -> None:
    together.pages = [report()] * 2
    cli("reconcile")
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    asked = [parse_qs(urlsplit(path).query)["month"][0] for path, _ in together.asked]
    assert all(month == f"{yesterday:%Y-%m}" for month in asked)


def test_simulated_calls_are_compared_with_a_file_alone(
    cli: Cli, ledger: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HYBRID_INFER_SIMULATE", "1")
    write(ledger, [simple(began_ns=unix_ns(DAY), simulated=True, cost_nano=5_000_000)])
    assert "simulated providers send no bills" in cli("reconcile", *RANGE).stderr
    table = "day,mode,model,cost_usd\n2026-10-20,together-serverless,m,0.005\n"
    (row,) = compared(cli, "--bill", bill(folder, table))["rows"]
    assert (date.fromisoformat(row["day"]), row["agrees"]) == (DAY.date(), True)


def test_the_command_shows_what_machines_cost(cli: Cli, modal_ledger: Path) -> None:
    result = cli("ledger", "machines", "--ledger", str(modal_ledger), "--json")
    (machine,) = json.loads(result.stdout)
    assert machine["machine"] == "modal acme--llm-serve.us-east.modal.direct llm"
    assert (machine["used_s"], machine["hourly_usd"], machine["estimated"]) == (3540.0, 3.95, True)
    assert machine["total_s"] == machine["used_s"] + machine["idle_s"]
    table = cli("ledger", "machines", "--ledger", str(modal_ledger)).stdout
    assert "containers were taken to be up for 60 s after use" in table
    none = cli("ledger", "machines", "--since", "2026-10-20")
    assert none.exit_code == 2
