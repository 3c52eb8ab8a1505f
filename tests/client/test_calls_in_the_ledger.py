"""With a ledger every call is written down when it has ended, and never waits or fails for it."""

from __future__ import annotations

import gc
import logging
import weakref
from pathlib import Path

import pytest

from both import ASK, Making, settled
from hybrid_infer.calls.records import CallRecord
from hybrid_infer.errors import APIError
from hybrid_infer.stores.ledger.reader import LedgerReader
from hybrid_infer.stores.ledger.writer import open_ledger

CANARY = "canary-prompt-4711"
TAG = "canary-tag-4711"


def calls(path: Path) -> list[CallRecord]:
    """What stands in the ledger, once all that was put is written, in the order in which it ended."""
    assert open_ledger(path).close(timeout=60)
    with LedgerReader(path) as reader:
        return sorted(reader.calls(), key=lambda call: call.id)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "l.sqlite"


async def test_each_call_is_a_row_and_each_attempt(make: Making, path: Path) -> None:
    api = make(simulate=True, ledger=str(path))
    reply = await api.create(purpose="minutes", tag=TAG)
    stream = await api.stream(mode="modal")
    text = await stream.text()
    await api.close()
    first, second = calls(path)
    assert text
    assert (first.mode, first.outcome, first.purpose) == ("together-serverless", "success", "minutes")
    assert (second.mode, second.stream, second.cold_start) == ("modal", True, True)
    assert reply.hybrid.cost.amount is not None
    assert first.cost_nano == int(reply.hybrid.cost.amount.scaleb(9))
    assert second.cost_nano == int((stream.hybrid.cost.amount or 0) * 10**9)
    assert [one.request_id for one in first.tries] == [reply.hybrid.request_id]
    assert len(second.tries) == stream.hybrid.attempts
    assert [wait.machine for wait in second.waits] == [second.tries[-1].machine]
    assert (first.cost_final, second.cost_final) == (True, False)
    assert first.simulated


async def test_neither_what_was_said_nor_the_tag_is_in_the_file(make: Making, path: Path) -> None:
    api = make(simulate=True, ledger=str(path))
    ask = [{"role": "user", "content": CANARY}]
    first = await api.create(messages=ask, tag=TAG)
    await api.create(messages=ask, tag=TAG, max_tokens=3)
    with pytest.raises(APIError):
        await api.create(messages=ask, tag=TAG, extra_body={"max_tokens": -1})
    await api.close()
    rows = calls(path)
    assert len({row.tag_hash for row in rows}) == 1
    assert rows[0].tag_hash is not None
    said = first.choices[0].message.content or ""
    for file in path.parent.iterdir():
        content = file.read_bytes()
        assert not any(text.encode() in content for text in (CANARY, TAG, said[:30]))


async def test_calls_that_fail_or_are_given_up_are_rows_too(make: Making, path: Path) -> None:
    api = make(simulate=True, ledger=str(path))
    with pytest.raises(APIError):
        await api.create(extra_body={"max_tokens": -1})
    closed = await api.stream()
    async for _ in closed:
        break
    await closed.close()
    await api.close()
    failed, given_up = calls(path)
    assert (failed.outcome, failed.cost_nano) == ("BadRequestError", 0)
    assert given_up.outcome == "abandoned"
    assert failed.tries[0].billed is False


async def test_a_stream_that_was_dropped_is_written_by_who_comes_next(make: Making, path: Path) -> None:
    """Its finaliser may not do that itself."""
    api = make(simulate=True, ledger=str(path))
    stream = await api.stream()
    async for _ in stream:
        break
    gone = weakref.ref(stream.held)
    del stream
    gc.collect()
    assert gone() is None
    await api.create()
    await api.close()
    dropped, _ = calls(path)
    assert (dropped.outcome, dropped.tries[0].outcome) == ("abandoned", "abandoned")


async def test_a_ledger_that_cannot_be_written_fails_no_call(
    make: Making, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place = tmp_path / "a file"
    place.touch()
    api = make(simulate=True, ledger=str(place / "l.sqlite"))
    with caplog.at_level(logging.WARNING, "hybrid_infer"):
        assert (await api.create()).choices
        await api.close()
    assert "cannot be written" in caplog.text


async def test_calls_before_and_after_a_switch_are_in_one_ledger(make: Making, path: Path) -> None:
    api = make(simulate=True, ledger=str(path))
    await api.create()
    await api.switch("together-dedicated")
    await api.create()
    await api.close()
    rows = calls(path)
    assert [row.mode for row in rows] == ["together-serverless", "together-dedicated"]
    assert [int(row.id[22:], 16) for row in rows] == [0, 1]


async def test_each_client_is_a_process_of_its_own(make: Making, path: Path) -> None:
    """Each has a meter of its own: what they share is settled as between processes."""
    for _ in range(2):
        await make(simulate=True, ledger=str(path)).create()
    for api in make.apis:
        await api.close()
    one, other = calls(path)
    assert one.id[:22] != other.id[:22]


async def test_without_a_ledger_nothing_is_written(make: Making, tmp_path: Path) -> None:
    api = make(simulate=True)
    await api.create(tag=TAG)
    await api.close()
    assert "Recording" not in api.client.describe()
    assert list(tmp_path.iterdir()) == []


async def test_an_answer_from_the_cache_says_what_it_saved(make: Making, path: Path) -> None:
    api = make(simulate=True, ledger=str(path), cache="memory")
    for _ in range(2):
        await api.create(messages=ASK, temperature=0)
    await api.close()
    paid, hit = calls(path)
    assert (paid.cache, hit.cache) == ("miss", "hit")
    assert (hit.cost_nano, hit.saved_nano) == (0, paid.cost_nano)


async def test_who_knows_a_machine_s_state_tells_the_meter_and_the_ledger(make: Making, path: Path) -> None:
    api = make(simulate=True, ledger=str(path), mode="together-dedicated")
    api.runtime.check()
    core = api.client._core
    core.observe("together-dedicated", None, 1)
    reply = await api.create()
    await api.runtime.sleep(10.0)
    core.observe("together-dedicated", None, 0)
    core.observe("together-serverless", None, 1)  # is not paid by time
    report = core.machine("together-dedicated", None)
    assert core.machine("together-serverless", None) is None
    assert report.attributed.usd == reply.hybrid.cost.amount
    assert report.idle.seconds == pytest.approx(10.0)
    assert not report.estimated
    await settled(api.client.close())
    assert open_ledger(path).close(timeout=60)
    with LedgerReader(path) as reader:
        states = [(state.serving, state.starting, state.rate) for state in reader.states()]
    assert states == [(1, 0, 5_490_000_000), (0, 0, 5_490_000_000)]
