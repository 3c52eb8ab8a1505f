"""The interpreter ends although calls are in flight: at once, with exit code 0, without a word."""

from __future__ import annotations

from textwrap import dedent

import pytest

from storm.processes import Ended, run_all

pytestmark = pytest.mark.real_time

UNDERWAY = {
    "calls in daemon threads": """
        api = client()
        for _ in range(10):
            daemon(ask, api, "never")
        """,
    "calls in back-off, in daemon threads": """
        api = client()
        for _ in range(10):
            daemon(ask, api, "later")
        """,
    "calls in the queue, in daemon threads": """
        api = client(max_in_flight=1)
        for _ in range(10):
            daemon(ask, api, "never")
        """,
    "calls that wait for a machine, in daemon threads": """
        api = Client(simulate=True, mode="modal", simulate_speed=0.2)
        for _ in range(10):
            daemon(ask, api, "cold")
        """,
    "streams read in daemon threads": """
        api = client()
        def read():
            for chunk in ask(api, "half", stream=True):
                pass
        for _ in range(10):
            daemon(read)
        """,
    "busy daemon threads": """
        api = client(max_in_flight=4)
        def work():
            while True:
                ask(api, "usual")
        for _ in range(10):
            daemon(work)
        """,
    "an open stream": """
        api = client()
        stream = ask(api, "half", stream=True)
        next(stream)
        """,
    "an open stream of a client that is gone": """
        stream = ask(client(), "half", stream=True)
        next(stream)
        """,
    "a stream in a cycle": """
        stream = ask(client(), "half", stream=True)
        next(stream)
        stream.itself = stream
        """,
    "the loser of a race": """
        api = client(hedge=True, attempt_timeout=30)
        for number in range(40):
            ask(api, "usual")
        daemon(ask, api, "never")
        """,
    "idle connections": """
        api = client()
        well(api)
        """,
    "pending tasks": """
        async def main():
            global tasks
            api = AsyncClient(**settings)
            tasks = [asyncio.create_task(ask(api, "never")) for _ in range(10)]
            await asyncio.sleep(0.3)
        asyncio.run(main())
        """,
    "pending tasks in every place": """
        async def main():
            global kept
            api = AsyncClient(**settings, max_in_flight=2)
            kept = [api, await ask(api, "half", stream=True)]
            kept += [asyncio.create_task(ask(api, "later")) for _ in range(10)]
            await kept[1].__anext__()
            await asyncio.sleep(0.3)
        asyncio.run(main())
        """,
    "an open stream of a task": """
        async def main():
            global stream
            stream = await ask(AsyncClient(**settings), "half", stream=True)
            await stream.__anext__()
        asyncio.run(main())
        """,
    "a loop that was never closed": """
        api = AsyncClient(**settings)
        async def main():
            global stream
            stream = await ask(api, "half", stream=True)
            await stream.__anext__()
            await ask(api, "usual")
        loop = asyncio.new_event_loop()
        loop.run_until_complete(main())
        """,
    "a loop in a daemon thread": """
        async def main():
            api = AsyncClient(**settings)
            await asyncio.gather(*[ask(api, "never") for _ in range(10)])
        daemon(lambda: asyncio.run(main()))
        """,
}


THEN = "time.sleep(0.3)\nprint(time.monotonic(), flush=True)\n"


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ended]:
    scripts = {"nothing": "well(client())\n" + THEN}
    scripts |= {name: dedent(body) + THEN for name, body in UNDERWAY.items()}
    return run_all(scripts, tmp_path_factory.mktemp("scripts"))


@pytest.mark.parametrize("underway", UNDERWAY)
def test_nothing_that_is_underway_holds_it_up(ended: dict[str, Ended], underway: str) -> None:
    end = ended[underway]
    assert (end.code, end.err) == (0, "")
    nothing = ended["nothing"]
    assert end.at - float(end.out) < 2 + nothing.at - float(nothing.out)
