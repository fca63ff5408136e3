"""Chaos: processes, database, Redis and network under several runs on two hosts are broken at
random for a while; then comes quiet, and everything must be complete.

    python -m tests.faults.chaos [--seed N] [--minutes M] [--runs R]

The seed fixes what is done and when, not what it hits. Afterwards every run has ended, every event
of every attempt is recorded once, states went as they may, the curve of each run is bit for bit
that of one that nothing disturbed, every device is free and no process is left.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import django
import psutil

from tests.faults import steady
from tests.faults.wire import Wire
from tests.faults.world import World, migrate, of_world, slay, until, world

HOSTS = ("still-one", "still-two")
PAUSE_SECONDS = (0.2, 2.0)
OUTAGE_SECONDS = (0.2, 4.0)
QUIET_SECONDS = 240.0


class Chaos:
    """What is done to a world, and what has to be undone later: (when, how)."""

    def __init__(self, made: World, seed: int) -> None:
        self.world, self.random = made, random.Random(seed)
        self.done: Counter[str] = Counter()
        self.due: list[tuple[float, Callable[[], Any]]] = []
        self.down: set[str] = set()
        self.acts: list[tuple[str, Callable[[], bool]]] = [
            ("kill -9 a trainer", lambda: self._kill_one("tests.faults.steady")),
            ("kill -9 a supervisor", lambda: self._kill_one("supervise")),
            ("kill -9 a supervisor", lambda: self._kill_one("supervise")),
            ("stop a supervisor for a while", self._stop_one),
            *[
                (f"kill -9 the {name}", lambda name=name: self._kill(name))
                for name in made.children
            ],
            ("cut the network for a while", self._cut),
            ("kill -9 a whole host's sweep, supervisors and worker", self._kill_host),
        ]

    def go_on(self, seconds: float) -> None:
        """Break something, undo what is due, start again what has died; and so on."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            name, act = self.random.choice(self.acts)
            if act():
                self.done[name] += 1
            self._tend(self.random.uniform(*PAUSE_SECONDS))

    def calm_down(self) -> None:
        for _, undo in self.due:
            undo()
        self.due = []
        self.world.heal()

    def _tend(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            now = time.monotonic()
            for when, undo in [entry for entry in self.due if entry[0] <= now]:
                self.due.remove((when, undo))
                undo()
            time.sleep(0.05)

    def _later(self, undo: Callable[[], Any]) -> None:
        self.due.append((time.monotonic() + self.random.uniform(*OUTAGE_SECONDS), undo))

    def _kill_one(self, word: str) -> bool:
        victim = self._one_of(word)
        if victim:
            slay(victim)
        return victim is not None

    def _stop_one(self) -> bool:
        victim = self._one_of("supervise")
        if victim is None:
            return False
        try:
            victim.suspend()
        except psutil.NoSuchProcess:
            return False
        self._later(lambda: _go_on(victim))
        return True

    def _kill(self, name: str) -> bool:
        if name in self.down:
            return False
        self.down.add(name)
        self.world.kill(name)
        self._later(lambda: self._revive(name))
        return True

    def _revive(self, name: str) -> None:
        self.down.discard(name)
        self.world.revive(name)

    def _cut(self) -> bool:
        wire = self.world.wire
        if wire is None or "wire" in self.down:
            return False
        self.down.add("wire")
        wire.cut()
        self._later(lambda: self._mend(wire))
        return True

    def _mend(self, wire: Wire) -> None:
        self.down.discard("wire")
        wire.mend()

    def _kill_host(self) -> bool:
        """Its trainers go on: as a host looks whose network is gone, to all the others."""
        host = self.random.choice(HOSTS)
        for process in processes(self.world, "supervise"):
            if host_of(process) == host:
                slay(process)
        return any([self._kill(f"sweep of {host}"), self._kill(f"worker of {host}")])

    def _one_of(self, word: str) -> psutil.Process | None:
        found = processes(self.world, word)
        return self.random.choice(found) if found else None


def processes(made: World, word: str) -> list[psutil.Process]:
    """Processes of the world with that word in their command, oldest first."""
    found = [process for process in of_world(made.folder) if word in _words(process)]
    return sorted(found, key=lambda process: process.pid)


def _words(process: psutil.Process) -> list[str]:
    try:
        words: list[str] = process.cmdline()
        return words if "workers.attempt.shim" not in words else []
    except psutil.Error:
        return []


def host_of(process: psutil.Process) -> str:
    try:
        name: str = process.environ().get("STILLROOM_HOST_NAME", "")
        return name
    except psutil.Error:
        return ""


def _go_on(process: psutil.Process) -> None:
    try:
        process.resume()
    except psutil.NoSuchProcess:
        return


def start(made: World) -> None:
    """Two hosts, each with a folder, a worker and a sweep of its own; one web."""
    migrate(made.environment)
    for host in HOSTS:
        own = {
            **made.behind_the_wire,
            "STILLROOM_HOST_NAME": host,
            "STILLROOM_STATE": str(made.folder / host),
        }
        made.start_worker(f"worker of {host}", own)
        made.start_sweep(f"sweep of {host}", own)
    made.start_web()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--runs", type=int, default=4)
    chosen = parser.parse_args()
    began = time.monotonic()
    with world() as made:
        os.environ.update(made.environment)
        django.setup()
        start(made)
        steps = max(40, int(0.5 * 60 * chosen.minutes / steady.STEP_SECONDS))
        runs = begin(chosen.runs, steps)
        chaos = Chaos(made, chosen.seed)
        chaos.go_on(60 * chosen.minutes)
        chaos.calm_down()
        rows = conclude(made, runs, steps)
    took = f"{60 * chosen.minutes:.0f} s; all over after {time.monotonic() - began:.0f} s"
    print(f"Seed {chosen.seed}: {sum(chaos.done.values())} faults in {took}.\n")
    print(table(("done", "times"), sorted(chaos.done.items())))
    print(table(("run", "attempts", "state", "events in logs", "recorded", "found"), rows))
    return any(row[-1] != "complete, one curve" for row in rows)


def begin(count: int, steps: int) -> list[Any]:
    from tests.faults.conftest import definition
    from webapp.access.models import Team
    from webapp.runs import lifecycle

    team = Team.objects.get_or_create(slug="cellar", defaults={"name": "Cellar"})[0]
    stages = [{"name": "steady", "until": {"steps": steps}}]
    return [
        lifecycle.create_run(team, None, definition(name=f"run {seed}", stages=stages, seed=seed))
        for seed in range(count)
    ]


def conclude(made: World, runs: list[Any], steps: int) -> list[tuple[Any, ...]]:
    """Wait for every end, as a person would who resumes what failed; then say of each run what its
    record is worth.
    """
    from webapp.nodes.models import Device
    from webapp.runs import lifecycle
    from webapp.runs.models import State
    from workers.database import retry_on_outage

    def over(run: Any) -> bool:
        retry_on_outage(run.refresh_from_db)
        if run.state == State.FAILED:
            lifecycle.resume(run)
        return run.state == State.COMPLETED

    until(
        lambda: sum(over(run) for run in runs) == len(runs),
        "the end of every run",
        QUIET_SECONDS,
        made.tend,
    )
    until(
        lambda: not processes(made, "supervise"),
        "the end of every supervisor",
        QUIET_SECONDS,
        made.tend,
    )
    until(
        lambda: not processes(made, "tests.faults.steady"),
        "the end of every trainer",
        QUIET_SECONDS,
        made.tend,
    )
    until(
        lambda: not Device.objects.exclude(allocated_to="").exists(),
        "the return of every device",
        QUIET_SECONDS,
        made.tend,
    )
    return [verdict(made, run, steps) for run in runs]


def verdict(made: World, run: Any, steps: int) -> tuple[Any, ...]:
    from tests.faults.records import assert_complete, assert_curve, folder_on, read_log, recorded

    folder = folder_on(made.folder)
    attempts = list(run.attempts.order_by("number"))
    try:
        assert_complete(run, folder)
        assert_curve(run, steady.losses(run.spec["seed"], steps))
        found = "complete, one curve"
    except AssertionError as wrong:
        found = " ".join(str(wrong).split())[:300]
    logged = sum(len(read_log(folder(attempt))) for attempt in attempts)
    return run.name, len(attempts), str(run.state), logged, recorded(run), found


def table(head: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> str:
    cells = [head, *(tuple(map(str, row)) for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(head))]
    lines = [
        "| "
        + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        + " |"
        for line in cells
    ]
    return "\n".join(
        [lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:], ""]
    )


if __name__ == "__main__":
    sys.exit(main())
