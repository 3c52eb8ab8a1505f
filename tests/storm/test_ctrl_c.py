"""Ctrl-C ends a blocking call wherever it waits, at once and without a word, and the client works on."""

from __future__ import annotations

import os
from textwrap import dedent

import pytest

from storm.processes import Ended, run_all

pytestmark = [
    pytest.mark.real_time,
    pytest.mark.skipif(os.name != "posix", reason="sends signals"),
]

WAITS = {
    "for the answer": """
        api = client()
        def wait():
            ask(api, "never")
        """,
    "within a stream": """
        api = client()
        stream = ask(api, "half", stream=True)
        next(stream)
        def wait():
            next(stream)
        """,
    "for the next attempt": """
        api = client()
        def wait():
            ask(api, "later")
        """,
    "in the queue": """
        api = client(max_in_flight=2)
        held = [ask(api, "half", stream=True)]
        def wait():
            held.append(ask(api, "half", stream=True))
            ask(api, "in the queue")
        def tidy():
            held.clear()
        """,
    "for a connection": """
        api = client(max_connections=1)
        held = [ask(api, "half", stream=True)]
        def wait():
            ask(api, "no connection")
        def tidy():
            held.clear()
        """,
    "for the rate": """
        api = client(requests_per_minute=2)
        def wait():
            for _ in range(9):
                ask(api, "too often")
        def well(api):
            pass
        """,
    "for the machine": """
        api = Client(simulate=True, mode="modal", simulate_speed=0.2)
        def wait():
            ask(api, "cold")
        def well(api):
            assert not api._core._current.calls
        """,
    "in a race": """
        api = client(hedge=True)
        for number in range(25):
            ask(api, "usual")
        def wait():
            ask(api, "never")
        """,
}

INTERRUPT = """
def tidy():
    pass

def interrupt():
    global sent
    time.sleep(0.4)
    sent = time.monotonic()
    os.kill(os.getpid(), signal.SIGINT)
"""


CAUGHT = """
daemon(interrupt)
try:
    wait()
except KeyboardInterrupt as error:
    seconds = time.monotonic() - sent
    assert error.__cause__ is None and error.__context__ is None, repr(error.__context__)
tidy()
well(api)
assert not api._core._current.calls
for known in api._core._parts.machines.values():
    assert known.limits is None or known.limits.in_flight == 0, known.limits
print(f"{seconds:.3f}")
"""
UNCAUGHT = ("for the answer", "for the next attempt", "in the queue", "in a race")

IN_A_LOOP = """
async def main():
    async with AsyncClient(**settings) as api:
        await asyncio.gather(*[ask(api, question) for _ in range(5) for question in ("never", "later")])

async def again():
    async with AsyncClient(**settings) as api:
        return (await ask(api, "and now?")).choices[0].message.content

daemon(interrupt)
try:
    asyncio.run(main())
except KeyboardInterrupt:
    seconds = time.monotonic() - sent
assert asyncio.run(again()) == "re: and now?"
print(f"{seconds:.3f}")
"""


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ended]:
    scripts = {where: INTERRUPT + dedent(WAITS[where]) + CAUGHT for where in WAITS}
    for where in UNCAUGHT:
        scripts[f"{where}, uncaught"] = INTERRUPT + dedent(WAITS[where]) + "daemon(interrupt)\nwait()\n"
    scripts["in a loop"] = INTERRUPT + IN_A_LOOP
    return run_all(scripts, tmp_path_factory.mktemp("scripts"))


@pytest.mark.parametrize("where", [*WAITS, "in a loop"])
def test_it_is_raised_at_once_and_the_next_call_is_answered(ended: dict[str, Ended], where: str) -> None:
    end = ended[where]
    assert (end.code, end.err) == (0, "")
    assert float(end.out) < 0.5


@pytest.mark.parametrize("where", UNCAUGHT)
def test_uncaught_it_ends_the_process_as_any_other_would(ended: dict[str, Ended], where: str) -> None:
    end = ended[f"{where}, uncaught"]
    assert (end.code, end.out) == (-2, "")
    assert end.err.splitlines()[-1] == "KeyboardInterrupt"
    assert end.err.count("Traceback (most recent call last)") == 1
    assert "Exception ignored" not in end.err
