"""`hybrid-infer prices`: what counts, where sources disagree, and live prices from the providers' lists."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

Cli = Callable[..., Any]

KEY = "tgp_do-not-show-this"
LISTS: dict[str, Any] = {
    "/v1/models": [
        {"id": "Qwen/Qwen3.5-9B", "type": "chat", "pricing": {"input": 0.34, "output": 0.5, "hourly": 0}}
    ],
    "/v2/supported-models": {"object": "list", "data": [], "next_cursor": None},
    "/v2/public/inference-instance-types": {
        "object": "list",
        "data": [{"gpuType": "nvidia-h100-80gb", "gpuCount": 2, "priceCentsPerHour": 1200}],
    },
}
LIST_NAMES = ["together-models", "together-supported-models", "together-instances"]


class Lists(ThreadingHTTPServer):
    """Together's lists behind a real address."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.lists = dict(LISTS)
        self.status = 200
        self.location: str | None = None
        self.asked: list[tuple[str, str | None]] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Answer(BaseHTTPRequestHandler):
    server: Lists

    def do_GET(self) -> None:
        lists = self.server
        lists.asked.append((self.path, self.headers["authorization"]))
        body = json.dumps(lists.lists[self.path]).encode()
        self.send_response(lists.status)
        self.send_header("content-length", str(len(body)))
        if lists.location is not None:
            self.send_header("location", lists.location)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def together(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lists]:
    with Lists() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv("TOGETHER_BASE_URL", server.address)
        monkeypatch.setenv("TOGETHER_API_KEY", KEY)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of live prices, in the test's own folder. Packages that are compared are not installed."""
    for name in ("TOGETHER_API_KEY", "TOGETHER_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    for package in ("modal", "genai_prices"):
        monkeypatch.setitem(sys.modules, package, None)
    return folder / "hybrid_infer" / "prices.json"


def shown(cli: Cli, *arguments: str) -> dict[tuple[str, str], Any]:
    result = cli("prices", *arguments, "--json")
    assert result.exit_code == 0, result.output
    return {(row["mode"], row["name"]): row for row in json.loads(result.stdout)}


def counts(cli: Cli, mode: str, name: str) -> Any:
    return shown(cli, "show")[mode, name]["quotes"][0]


def test_show_tells_the_price_that_counts_its_source_and_its_age(cli: Cli) -> None:
    qwen = counts(cli, "together-serverless", "Qwen/Qwen3.5-9B")
    assert qwen["usd"] == {"input": 0.17, "output": 0.25}
    assert (qwen["origin"], qwen["as_of"]) == ("shipped", "2026-11-23")
    assert qwen["age_days"] >= 0
    line = next(line for line in cli("prices", "show").stdout.splitlines() if "Qwen/Qwen3.5-9B" in line)
    assert "0.17 in, 0.25 out" in line
    assert "2026-11-23" in line
    assert "LiteLLM" in line


def test_show_takes_a_part_of_a_name(cli: Cli) -> None:
    assert {name for _, name in shown(cli, "show", "h100")} == {"H100"}
    assert {mode for mode, _ in shown(cli, "show", "dedicated")} == {"together-dedicated"}
    assert shown(cli, "show", "nothing-has-this-name") == {}


def test_prices_of_your_own_come_first(cli: Cli, folder: Path) -> None:
    (folder / "hybrid_infer.toml").write_text(
        '[prices."Qwen/Qwen3.5-9B"]\ninput = 0.1\noutput = 0.2\n[prices.llm]\nhour = 3.95\n'
    )
    qwen = counts(cli, "together-serverless", "Qwen/Qwen3.5-9B")
    assert (qwen["origin"], qwen["usd"]) == ("yours", {"input": 0.1, "output": 0.2})
    rows = json.loads(cli("prices", "show", "llm", "--json").stdout)
    assert rows[0]["quotes"][0]["usd"] == {"hour": 3.95}


def test_check_tells_where_sources_disagree_and_by_how_much(cli: Cli) -> None:
    found = shown(cli, "check")
    h100 = found["together-dedicated", "H100"]
    assert h100["disagreement"] == pytest.approx(0.273, abs=0.001)
    assert {quote["usd"]["hour"] for quote in h100["quotes"]} == {5.49, 5.40, 6.49, 3.99}
    assert ("together-serverless", "openai/gpt-oss-20b") in found, "its offer has ended"
    text = cli("prices", "check", "h100").stdout
    assert "counts  5.49 an hour" in text
    assert "-27%  3.99 an hour" in text
    assert "STALE" in text


def test_check_compares_genai_prices_where_it_is_installed(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    from decimal import Decimal

    package = ModuleType("genai_prices")

    def calc_price(usage: Any, model: str, *, provider_id: str) -> Any:
        if (model, provider_id) != ("Qwen/Qwen3.5-9B", "together"):
            raise LookupError(model)
        return SimpleNamespace(total_price=Decimal("0.34") if usage.input_tokens else Decimal("0.25"))

    vars(package).update(Usage=SimpleNamespace, calc_price=calc_price)
    monkeypatch.setitem(sys.modules, "genai_prices", package)
    monkeypatch.setattr("importlib.metadata.version", lambda _: "0.2.3")
    row = shown(cli, "check", "Qwen3.5-9B")["together-serverless", "Qwen/Qwen3.5-9B"]
    assert row["disagreement"] == pytest.approx(1.0)
    assert row["quotes"][-1]["origin"] == "genai-prices 0.2.3"
    assert row["quotes"][0]["origin"] == "shipped"


def test_refresh_keeps_the_lists_with_their_date_and_they_count(
    cli: Cli, together: Lists, kept: Path
) -> None:
    result = cli("prices", "refresh")
    assert result.exit_code == 0, result.output
    assert "together-models: 1 prices" in result.stdout
    assert "modal-rates: not fetched: needs the package" in result.stderr
    assert str(kept) in result.stderr
    qwen = counts(cli, "together-serverless", "Qwen/Qwen3.5-9B")
    assert (qwen["origin"], qwen["usd"], qwen["age_days"]) == (
        "together-models",
        {"input": 0.34, "output": 0.5},
        0,
    )
    assert counts(cli, "together-dedicated", "H100")["usd"] == {"hour": 6.0}
    assert shown(cli, "check", "Qwen3.5-9B")["together-serverless", "Qwen/Qwen3.5-9B"]["disagreement"] == 0.5


def test_the_key_goes_to_the_address_it_was_set_for_and_is_never_shown(
    cli: Cli, together: Lists, kept: Path
) -> None:
    result = cli("prices", "refresh")
    assert {header for _, header in together.asked} == {f"Bearer {KEY}"}
    assert [path for path, _ in together.asked] == list(LISTS)
    assert KEY not in result.output + kept.read_text()


def test_a_redirect_does_not_take_the_key_elsewhere(cli: Cli, together: Lists) -> None:
    with Lists() as elsewhere:
        together.status, together.location = 302, f"{elsewhere.address}/v1/models"
        result = cli("prices", "refresh")
    assert result.exit_code == 1
    assert elsewhere.asked == []
    assert "HTTP 302" in result.stderr


def test_a_second_refresh_tells_what_has_changed(cli: Cli, together: Lists) -> None:
    cli("prices", "refresh")
    together.lists["/v1/models"] = [
        {"id": "Qwen/Qwen3.5-9B", "pricing": {"input": 0.4, "output": 0.5}},
        {"id": "new/model", "pricing": {"input": 1, "output": 1}},
    ]
    assert "together-models: 2 prices, 2 changed since" in cli("prices", "refresh").stdout


def test_what_cannot_be_fetched_stays_as_it_was(cli: Cli, together: Lists) -> None:
    cli("prices", "refresh")
    together.lists["/v1/models"] = {"error": "gone"}
    result = cli("prices", "refresh", "--json")
    report = json.loads(result.stdout)
    assert result.exit_code == 0
    assert set(report["problems"]) == {"together-models", "modal-rates"}
    assert set(report["fetched"]) == {"together-supported-models", "together-instances"}
    assert counts(cli, "together-serverless", "Qwen/Qwen3.5-9B")["usd"]["input"] == 0.34


def test_a_key_that_is_not_accepted_is_told(cli: Cli, together: Lists, kept: Path) -> None:
    together.status = 401
    result = cli("prices", "refresh")
    assert result.exit_code == 1
    assert "the key is not accepted" in result.stderr
    assert not kept.exists()


def test_without_a_key_and_without_modal_nothing_is_fetched(cli: Cli, kept: Path) -> None:
    result = cli("prices", "refresh")
    assert result.exit_code == 1
    assert "set TOGETHER_API_KEY" in result.stderr
    assert not kept.exists()


def test_rates_of_modal_come_through_its_package(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    rates = {"gpu_hour_cost_h100": "4.2", "cpu_hour_cost": "0.05", "mem_gib_hour_cost": "0.01"}
    package = ModuleType("modal")
    asked: list[object] = []

    def from_context(client: object = None) -> Any:
        asked.append(client)
        return SimpleNamespace(billing=SimpleNamespace(rates=lambda: rates))

    credentials = SimpleNamespace(from_credentials=lambda *token: token)
    vars(package).update(Workspace=SimpleNamespace(from_context=from_context), Client=credentials)
    monkeypatch.setitem(sys.modules, "modal", package)
    monkeypatch.setenv("MODAL_TOKEN_ID", "ak-1")
    monkeypatch.setenv("MODAL_TOKEN_SECRET", "as-1")
    result = cli("prices", "refresh")
    assert result.exit_code == 0, result.output
    assert "modal-rates: 3 prices" in result.stdout
    assert asked == [("ak-1", "as-1")]
    assert counts(cli, "modal", "H100")["usd"] == {"hour": 4.2}
    assert counts(cli, "modal", "memory")["usd"] == {"hour": 0.01}


def test_what_the_modal_package_says_is_told(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    package = ModuleType("modal")

    def from_context(client: object = None) -> Any:
        raise RuntimeError("Token missing")

    vars(package).update(Workspace=SimpleNamespace(from_context=from_context))
    monkeypatch.setitem(sys.modules, "modal", package)
    result = cli("prices", "refresh")
    assert result.exit_code == 1
    assert "RuntimeError: Token missing" in result.stderr
    assert "modal token new" in result.stderr


def test_simulated_providers_have_no_prices_to_fetch(cli: Cli, simulated: None) -> None:
    result = cli("prices", "refresh")
    assert result.exit_code == 1
    assert "unset HYBRID_INFER_SIMULATE" in result.stderr


def test_a_file_that_is_not_ours_is_told_and_replaced(cli: Cli, together: Lists, kept: Path) -> None:
    kept.parent.mkdir()
    kept.write_text("{}")
    assert "cannot be used" in cli("prices", "show").stderr
    assert "is replaced" in cli("prices", "refresh").stderr
    assert counts(cli, "together-serverless", "Qwen/Qwen3.5-9B")["origin"] == "together-models"


def test_a_place_that_cannot_be_written_is_told(
    cli: Cli, together: Lists, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "file").write_text("")
    monkeypatch.setenv("HYBRID_INFER_PRICES_CACHE", str(folder / "file" / "prices.json"))
    result = cli("prices", "refresh")
    assert result.exit_code == 1
    assert "set HYBRID_INFER_PRICES_CACHE to a file that can be written" in result.stderr
