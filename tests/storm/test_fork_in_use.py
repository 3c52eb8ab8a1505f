"""A client that is in use at the moment of a fork works in the child, and its parent notices nothing."""

from __future__ import annotations

import asyncio
import os

import pytest

from storm.processes import Ended, run_all
from storm.wire import Asked, echo

pytestmark = [
    pytest.mark.real_time,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here"),
]

FORKING = """
import faulthandler
from hybrid_infer.runtime import fork

settings |= {"max_retries": 0, "timeout": 10}
stopping = threading.Event()

def right(reply, question):
    answer = reply.choices[0].message.content
    return question in answer if simulated else answer == f"re: {question}"

def served(client, question):
    return right(ask(client, question), question)

async def aserved(client, question):
    return right(await ask(client, question), question)

async def many(client, word, count=10):
    return all(await asyncio.gather(*[aserved(client, f"{word} {number}") for number in range(count)]))

def in_child(check, leave=os._exit):
    child = os.fork()
    if child == 0:
        faulthandler.dump_traceback_later(8)
        status = 1
        try:
            status = 0 if check() else 2
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
        faulthandler.cancel_dump_traceback_later()
        leave(status)
    return child

def well(child):
    until = time.monotonic() + 10
    while time.monotonic() < until:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status) == 0
        time.sleep(0.005)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return False
"""

MANY_THREADS = """
api = client()
for number in range(25):
    assert served(api, f"first {number}")  # so that a hedge knows what is slow
wrong = []

def work(number):
    count = 0
    while not stopping.is_set():
        question = f"thread {number} {count}" + (" slow" if count % 7 == number else "")
        if not served(api, question):
            wrong.append(question)
        count += 1

threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
for thread in threads:
    thread.start()

def check():
    answers = []
    def one(number):
        answers.append(served(api, f"child {os.getpid()} {number}"))
    more = [threading.Thread(target=one, args=(number,)) for number in range(6)]
    for thread in more:
        thread.start()
    for thread in more:
        thread.join()
    api.close()
    return answers == [True] * 6

results = []
for number in range(8):
    results.append(well(in_child(check)))
    time.sleep(0.02)
stopping.set()
for thread in threads:
    thread.join()
print("well" if all(results) and not wrong else (results, wrong))
"""

LOCKS_HELD = """
api = client()
for number in range(25):
    assert served(api, f"first {number}")
held, release = threading.Event(), threading.Event()

def hold():
    locks = [thing for thing in list(fork._inherited) if hasattr(thing, "acquire")]
    assert len(locks) >= 5
    for lock in locks:
        lock.acquire()
    held.set()
    release.wait()
    for lock in locks:
        lock.release()

thread = threading.Thread(target=hold)
thread.start()
held.wait()

def check():
    first = served(api, "child")
    repr(api._core._parts.machines)
    api.switch("modal" if simulated else "openai-compatible")
    return first and served(api, "switched")

good = well(in_child(check))
release.set()
thread.join()
print("well" if good and served(api, "parent") else "wrong")
"""

TASKS = """
api = AsyncClient(**settings)
results, wrong = [], []

def check():
    async def main():
        return await many(api, "child") and await many(api, "again")
    return asyncio.run(main())

async def work(number):
    count = 0
    while not stopping.is_set():
        question = f"task {number} {count}" + (" slow" if count % 7 == number else "")
        if not await aserved(api, question):
            wrong.append(question)
        count += 1

async def main():
    for number in range(25):
        assert await aserved(api, f"first {number}")
    tasks = [asyncio.create_task(work(number)) for number in range(6)]
    await asyncio.sleep(0.1)
    inside = in_child(check)
    results.append(await asyncio.to_thread(well, inside))
    await asyncio.gather(*tasks)
    await api.close()

loop = threading.Thread(target=asyncio.run, args=(main(),))
loop.start()
time.sleep(0.5)
for number in range(5):
    results.append(well(in_child(check)))
    time.sleep(0.02)
stopping.set()
loop.join()
print("well" if results == [True] * 6 and not wrong else (results, wrong))
"""

HALF_READ = """
api = client()
stream = ask(api, "one two three slow", stream=True)
next(stream)

def check():
    global stream
    stream = None
    gc.collect()
    return served(api, "child")

assert well(in_child(check, leave))
text = "re: " + "".join(chunk.choices[0].delta.content or "" for chunk in stream)
print("well" if text == "re: one two three slow " and served(api, "parent") else text)
api.close()
"""

# The connections that wait for the next call are the parent's, too: both processes share the selector.
HALF_READ_BY_A_TASK = """
api = AsyncClient(**settings)
stream = None

def check():
    global stream
    stream = None
    gc.collect()
    return asyncio.run(aserved(api, "child"))

async def begin():
    global stream
    assert await many(api, "idle", 4)
    stream = await ask(api, "one two three slow", stream=True)
    await stream.__anext__()

async def end():
    text = "re: " + "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
    assert text == "re: one two three slow ", text
    assert await many(api, "idle", 4)
    await api.close()

loop = asyncio.new_event_loop()
loop.run_until_complete(begin())
assert well(in_child(check, leave))
loop.run_until_complete(end())
loop.close()
print("well")
"""

# In the child, tasks are collected half way, which must touch nothing of the parent's.
UNDERWAY = """
api = AsyncClient(**settings)

async def main():
    assert await many(api, "first", 3)
    asked = [asyncio.create_task(aserved(api, f"slow {number}")) for number in range(4)]
    await asyncio.sleep(0.2)
    forking.set()
    answers = await asyncio.gather(*asked)
    answers.append(await many(api, "last", 6))
    await api.close()
    return answers

def run():
    results.extend(asyncio.run(main()))

forking, results = threading.Event(), []
loop = threading.Thread(target=run)
loop.start()
forking.wait()
child = in_child(lambda: True, sys.exit)
loop.join()
print("well" if well(child) and results == [True] * 5 else results)
"""

# In the child `asyncio.run` cancels the tasks.
FORK_IN_A_TASK = """
api = AsyncClient(**settings)

async def main():
    assert await many(api, "first", 3)
    asked = [asyncio.create_task(aserved(api, f"slow {number}")) for number in range(4)]
    await asyncio.sleep(0.2)
    child = os.fork()
    if child == 0:
        sys.exit()
    answers = await asyncio.gather(*asked)
    answers += [well(child), await many(api, "last", 6)]
    await api.close()
    return answers

answers = asyncio.run(main())
print("well" if answers == [True] * 6 else answers)
"""

PLAIN = "simulated = False\n"
LIMITED = PLAIN + 'settings |= {"max_in_flight": 4, "hedge": True}\n'
SIMULATED = (
    "simulated = True\n"
    'settings = {"simulate": True, "simulate_speed": 100, "mode": "together-serverless", "timeout": 10}\n'
)

SCRIPTS = {
    "many threads are in calls": LIMITED + MANY_THREADS,
    "many threads are in calls, simulated": SIMULATED + MANY_THREADS,
    "a thread holds every lock there is": LIMITED + LOCKS_HELD,
    "a thread holds every lock there is, simulated": SIMULATED + LOCKS_HELD,
    "tasks are in calls": PLAIN + TASKS,
    "tasks are in calls, limited": LIMITED + TASKS,
    "a stream is half read": PLAIN + "leave = os._exit\n" + HALF_READ,
    "a stream is half read, and the child ends as usual": PLAIN + "leave = sys.exit\n" + HALF_READ,
    "an async stream is half read": PLAIN + "leave = os._exit\n" + HALF_READ_BY_A_TASK,
    "an async stream is half read, and the child ends as usual": (
        PLAIN + "leave = sys.exit\n" + HALF_READ_BY_A_TASK
    ),
    "tasks wait for answers, and the child ends as usual": PLAIN + UNDERWAY,
    "tasks wait for answers, in one of them": PLAIN + FORK_IN_A_TASK,
}


async def unhurried(asked: Asked) -> bool:
    await asyncio.sleep(0.5 if "slow" in asked.question else 0.005)
    return await echo(asked)


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ended]:
    scripts = {name: FORKING + script for name, script in SCRIPTS.items()}
    return run_all(scripts, tmp_path_factory.mktemp("scripts"), unhurried)


@pytest.mark.parametrize("while_", SCRIPTS)
def test_a_fork_while(ended: dict[str, Ended], while_: str) -> None:
    """The child gets right answers and ends, and so does its parent."""
    end = ended[while_]
    assert (end.code, end.err, end.out) == (0, "", "well\n")
