"""All benchmarks: this package beside other clients, in one run, against one server.

    make bench                                    everything; takes most of an hour
    make bench ARGS="--quick"                     few rounds, to see that it works
    make bench ARGS="--case unary --peer httpx"   one case, and ours beside one client

Each client runs in an environment and a process of its own. They take turns, round by round, so that all
of them meet the same machine. A run of everything, with all clients, is written to RESULTS.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from cases import CASES, LADDER, OURS, PEERS, SCALES, Amount, Case
from crew import HERE, Absent, Member, environment
from found import Figures, Found
from loaded import Loaded, loaded
from report import markdown, show
from svg import plot

PATIENCE, QUICK = 6.0, 1.5
"""Seconds that a client has in one round of a case, in full and quick; what it began then it also ends."""
OTHERS = ("ladder", *(f"scale-{scale.name}" for scale in SCALES))


class Run:
    def __init__(self, server: Loaded, found: Found, chosen: list[str], patience: float) -> None:
        self._patience = patience
        self._server = server
        self._found = found
        self._chosen = chosen
        self._crew: dict[str, Member] = {}
        self._dice = random.Random(8)

    def join(self, peer: str) -> None:
        _say(f"{peer}: environment")
        try:
            self._crew[peer] = member = Member(peer, environment(peer), self._server.url, self._patience)
        except Absent as absent:
            self._found.miss("", peer, str(absent))
            _say(f"{peer}: left out, {absent}")
            return
        self._found.versions[peer] = member.versions

    def leave(self) -> None:
        for member in self._crew.values():
            member.close()

    def all(self) -> None:
        for connections in (1, 32, 256):
            rate, cpu = self._server.most(connections, 0.5 if self._found.quick else 3)
            self._found.server[str(connections)] = {"rate": rate, "cpu_us": cpu * 1e6}
        for case in CASES:
            if self._wanted(case.name):
                self._case(case)
        if OURS in self._crew and self._wanted("ladder"):
            _say("ladder")
            amount = self._amount(*LADDER)
            try:
                self._found.ladder = self._crew[OURS].run("ladder", amount.times, rounds=amount.rounds)
            except Absent as absent:
                self._found.miss("", "ladder", str(absent))
        for scale in SCALES:
            if OURS in self._crew and self._wanted(f"scale-{scale.name}"):
                try:
                    self._scale(scale.name, scale.quick_sizes if self._found.quick else scale.sizes)
                except Absent as absent:
                    self._found.miss("", f"scale-{scale.name}", str(absent))

    def _wanted(self, name: str) -> bool:
        return not self._chosen or name in self._chosen

    def _amount(self, full: Amount, quick: Amount) -> Amount:
        return quick if self._found.quick else full

    def _case(self, case: Case) -> None:
        amount = self._amount(case.full, case.quick)
        taking = [peer for peer in self._crew if case.peers is None or peer in case.peers]
        for peer in list(taking):
            try:
                if not case.fresh:  # once to warm up, and to see whether it can
                    self._once(case, self._crew[peer], max(amount.times // 10, case.given.get("flying", 1)))
            except Absent as absent:
                self._found.miss(case.name, peer, str(absent))
                taking.remove(peer)
        for number in range(amount.rounds):
            _say(f"{case.name}: round {number + 1} of {amount.rounds}")
            self._dice.shuffle(taking)
            for peer in list(taking):
                try:
                    self._found.add(case.name, peer, self._once(case, self._crew[peer], amount.times))
                except Absent as absent:
                    self._found.rounds.get(case.name, {}).pop(peer, None)
                    self._found.miss(case.name, peer, str(absent))
                    taking.remove(peer)

    def _once(self, case: Case, member: Member, times: int) -> Figures:
        before, began = self._server.spent(), time.perf_counter()
        if case.does is None:
            figures = member.cold(case.name)
        elif case.fresh:
            with member.again() as new:
                figures = new.run(case.does, times, **case.given)
        else:
            figures = member.run(case.does, times, **case.given)
        took = time.perf_counter() - began
        return {**figures, "server": (self._server.spent().cpu - before.cpu) / took}

    def _scale(self, name: str, sizes: tuple[int, ...]) -> None:
        scale = next(scale for scale in SCALES if scale.name == name)
        amount = self._amount(scale.full, scale.quick)
        costs: dict[int, list[float]] = {size: [] for size in sizes}
        with self._crew[OURS].again() as member:
            for number in range(amount.rounds + 1):
                _say(f"scale-{name}: round {number} of {amount.rounds}")
                for size in self._dice.sample(sizes, len(sizes)):
                    cost = member.run("scale", amount.times, what=name, size=size)["cpu_us"]
                    if number:  # round 0 is to make and to warm up
                        costs[size].append(cost)
        self._found.scales[name] = costs


def about() -> dict[str, str]:
    """The machine, and what else it does."""
    model = platform.processor() or platform.machine()
    memory = ""
    if (cpus := Path("/proc/cpuinfo")).exists():
        named = [line for line in cpus.read_text().splitlines() if line.startswith("model name")]
        model = named[0].partition(":")[2].strip() if named else model
        pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        memory = f", {pages / 2**30:.0f} GiB"
    began = time.thread_time()
    for _ in range(1_000_000):
        pass
    pace = (time.thread_time() - began) * 1000
    load = " ".join(f"{one:.2f}" for one in os.getloadavg())
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": f"{model}, {os.cpu_count()} cores{memory}",
        "system": f"{platform.system()} {platform.release()}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "pace": f"{pace:.1f} ns a round of an empty loop",
        "load before the run": f"{load} (1, 5, 15 minutes)",
    }


def draw(found: Found) -> None:
    folder = HERE / "plots"
    folder.mkdir(exist_ok=True)
    for name, fitted in found.fits().items():
        text = next(scale.text for scale in SCALES if scale.name == name)
        (folder / f"{name}.svg").write_text(
            plot(f"More {text}", text, found.scales[name], fitted), encoding="utf-8"
        )


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [*(case.name for case in CASES), *OTHERS]
    parser.add_argument("--quick", action="store_true", help="few rounds")
    parser.add_argument(
        "--case", action="append", choices=names, default=[], help="only this; may be repeated"
    )
    parser.add_argument(
        "--peer", action="append", choices=PEERS, default=[], help="only this beside ours; may be repeated"
    )
    parser.add_argument(
        "--patience",
        type=float,
        metavar="SECONDS",
        help=f"that a client has in one round of a case ({PATIENCE:g}, quick {QUICK:g}); fewer, fewer calls",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    given = parser.parse_args()
    found = Found(quick=given.quick, partial=bool(given.case or given.peer), about=about())
    patience = given.patience or (QUICK if given.quick else PATIENCE)
    found.about["patience"] = f"{patience:g} s that a client has in one round of a case"
    with loaded() as server:
        run = Run(server, found, given.case, patience)
        try:
            for peer in PEERS:
                if not given.peer or peer in given.peer or peer == OURS:
                    run.join(peer)
            run.all()
        finally:
            run.leave()
    found.about["load after the run"] = " ".join(f"{one:.2f}" for one in os.getloadavg())
    show(found)
    if given.json:
        given.json.write_text(json.dumps(found.as_json(), indent=1), encoding="utf-8")
    if not found.partial:
        draw(found)
        (HERE / "RESULTS.md").write_text(markdown(found), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
