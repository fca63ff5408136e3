"""Random faults in processes, database, Redis and network during several runs on two hosts.

    python -m tests.faults.chaos [--seed N] [--minutes M] [--runs R]

The seed fixes the faults and their times, but not which process is hit. Afterwards every run has
ended, every event of every attempt is recorded once, all state transitions are allowed, the curve
of each run is bit for bit that of an undisturbed run, every device is free and no process is left.
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
from tests.faults.world import World, kill_if_alive, migrate, processes_of, until, world

HOSTS = ("still-one", "still-two")
PAUSE_SECONDS = (0.2, 2.0)
OUTAGE_SECONDS = (0.2, 4.0)
QUIET_SECONDS = 240.0


class Chaos:
    """Faults in a world, and when each of them is undone."""

    def __init__(self, site: World, seed: int) -> None:
        self.world, self.random = site, random.Random(seed)
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
                for name in site.children
            ],
            ("cut the network for a while", self._cut),
            ("kill -9 a whole host's sweep, supervisors and worker", self._kill_host),
        ]

    def run(self, seconds: float) -> None:
        """Inject faults for `seconds`, and undo each of them later."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            name, act = self.random.choice(self.acts)
            if act():
                self.done[name] += 1
            self._undo_due(self.random.uniform(*PAUSE_SECONDS))

    def calm_down(self) -> None:
        for _, undo in self.due:
            undo()
        self.due = []
        self.world.heal()

    def _undo_due(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            now = time.monotonic()
            for when, undo in [entry for entry in self.due if entry[0] <= now]:
                self.due.remove((when, undo))
                undo()
            time.sleep(0.05)

    def _schedule(self, undo: Callable[[], Any]) -> None:
        self.due.append((time.monotonic() + self.random.uniform(*OUTAGE_SECONDS), undo))

    def _kill_one(self, argument: str) -> bool:
        victim = self._random_process(argument)
        if victim:
            kill_if_alive(victim)
        return victim is not None

    def _stop_one(self) -> bool:
        victim = self._random_process("supervise")
        if victim is None:
            return False
        try:
            victim.suspend()
        except psutil.NoSuchProcess:
            return False
        self._schedule(lambda: _resume(victim))
        return True

    def _kill(self, name: str) -> bool:
        if name in self.down:
            return False
        self.down.add(name)
        self.world.kill(name)
        self._schedule(lambda: self._revive(name))
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
        self._schedule(lambda: self._reconnect(wire))
        return True

    def _reconnect(self, wire: Wire) -> None:
        self.down.discard("wire")
        wire.reconnect()

    def _kill_host(self) -> bool:
        """Kill all but the trainers: to others it looks like a host without network."""
        host = self.random.choice(HOSTS)
        for process in processes(self.world, "supervise"):
            if host_of(process) == host:
                kill_if_alive(process)
        return any([self._kill(f"sweep of {host}"), self._kill(f"worker of {host}")])

    def _random_process(self, argument: str) -> psutil.Process | None:
        matches = processes(self.world, argument)
        return self.random.choice(matches) if matches else None


def processes(site: World, argument: str) -> list[psutil.Process]:
    """Return processes of the world with `argument` in their command line, oldest first."""
    matches = [process for process in processes_of(site.folder) if argument in _arguments(process)]
    return sorted(matches, key=lambda process: process.pid)


def _arguments(process: psutil.Process) -> list[str]:
    try:
        arguments: list[str] = process.cmdline()
        return arguments if "workers.attempt.exit_recorder" not in arguments else []
    except psutil.Error:
        return []


def host_of(process: psutil.Process) -> str:
    try:
        name: str = process.environ().get("STILLROOM_HOST_NAME", "")
        return name
    except psutil.Error:
        return ""


def _resume(process: psutil.Process) -> None:
    try:
        process.resume()
    except psutil.NoSuchProcess:
        return


def start(site: World) -> None:
    """Start two hosts, each with its own folder, worker and sweep, and one web."""
    migrate(site.environment)
    for host in HOSTS:
        environment = {
            **site.behind_the_wire,
            "STILLROOM_HOST_NAME": host,
            "STILLROOM_STATE": str(site.folder / host),
        }
        site.start_worker(f"worker of {host}", environment)
        site.start_sweep(f"sweep of {host}", environment)
    site.start_web()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--runs", type=int, default=4)
    options = parser.parse_args()
    began = time.monotonic()
    with world() as site:
        os.environ.update(site.environment)
        django.setup()
        start(site)
        steps = max(40, int(0.5 * 60 * options.minutes / steady.STEP_SECONDS))
        runs = begin(options.runs, steps)
        chaos = Chaos(site, options.seed)
        chaos.run(60 * options.minutes)
        chaos.calm_down()
        rows = conclude(site, runs, steps)
    took = f"{60 * options.minutes:.0f} s; all over after {time.monotonic() - began:.0f} s"
    print(f"Seed {options.seed}: {sum(chaos.done.values())} faults in {took}.\n")
    print(table(("done", "times"), sorted(chaos.done.items())))
    print(table(("run", "attempts", "state", "events in logs", "recorded", "result"), rows))
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


def conclude(site: World, runs: list[Any], steps: int) -> list[tuple[Any, ...]]:
    """Wait until all runs have ended, resume failed ones, and return a table row for each run."""
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
        site.restart_dead,
    )
    until(
        lambda: not processes(site, "supervise"),
        "the end of every supervisor",
        QUIET_SECONDS,
        site.restart_dead,
    )
    until(
        lambda: not processes(site, "tests.faults.steady"),
        "the end of every trainer",
        QUIET_SECONDS,
        site.restart_dead,
    )
    until(
        lambda: not Device.objects.exclude(allocated_to="").exists(),
        "the return of every device",
        QUIET_SECONDS,
        site.restart_dead,
    )
    return [verdict(site, run, steps) for run in runs]


def verdict(site: World, run: Any, steps: int) -> tuple[Any, ...]:
    from tests.faults.records import assert_complete, assert_curve, folder_on, read_log, recorded

    folder = folder_on(site.folder)
    attempts = list(run.attempts.order_by("number"))
    try:
        assert_complete(run, folder)
        assert_curve(run, steady.losses(run.spec["seed"], steps))
        result = "complete, one curve"
    except AssertionError as wrong:
        result = " ".join(str(wrong).split())[:300]
    logged = sum(len(read_log(folder(attempt))) for attempt in attempts)
    return run.name, len(attempts), str(run.state), logged, recorded(run), result


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
