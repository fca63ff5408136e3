"""Outages of Postgres, Redis, the network or a process during runs: all records are complete."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import psutil
import pytest
from django.conf import settings
from django.db import connection, connections, transaction
from django.db.models.functions import Now
from pytest_django import DjangoDbBlocker

from tests.faults import steady
from tests.faults.chaos import processes
from tests.faults.conftest import definition
from tests.faults.follower import Follower
from tests.faults.records import assert_complete, assert_curve
from tests.faults.world import LEASE_SECONDS, World, migrate, until, world
from tests.webapp.conftest import member
from trainer.events import last_seq
from webapp.access.models import Role, Team
from webapp.base import celery_client, environment, notify
from webapp.runs import leases, lifecycle
from webapp.runs.models import ACTIVE, Attempt, Run, State
from workers.database import retry_on_outage

STEPS = 60
AWAY_SECONDS = (
    3 * LEASE_SECONDS
)  # `outage` keeps services away for ten minutes, twenty of the lease periods that are the default
LONG = STEPS + round(AWAY_SECONDS / steady.STEP_SECONDS)
Begin = Callable[..., list[Run]]


@pytest.fixture(scope="module")
def broken(django_db_blocker: DjangoDbBlocker) -> Iterator[World]:
    """Yield a world for this module; the ORM of this process reaches it directly."""
    with world() as site, django_db_blocker.unblock(), pointed_at(site):
        migrate(site.environment)
        site.start_sweep()
        site.start_worker()
        yield site


@contextmanager
def pointed_at(site: World) -> Iterator[None]:
    """Let Django, the notifications and new children of this process use that world."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in site.environment.items():
            patch.setenv(name, value)
        database = environment.database(site.environment["DATABASE_URL"])
        patch.setitem(
            connections.settings, "default", {**connections.settings["default"], **database}
        )
        patch.setattr(settings, "REDIS_URL", site.redis.url)
        patch.setattr(settings, "SECRET_KEY", site.environment["SECRET_KEY"])
        patch.setattr(settings, "STILLROOM_STATE", site.folder / "state")
        forget_connections()
        yield
    forget_connections()


def forget_connections() -> None:
    """Close all connections; the next use opens them with the settings of that time."""
    connections.close_all()
    del connections["default"]
    notify._client.cache_clear()
    celery_client._client.cache_clear()


@pytest.fixture
def begin(broken: World) -> Iterator[Begin]:
    """Return a function that starts runs of so many steps each, the last one first.

    It waits until all are active; every run ends before the test does.
    """

    def start(*steps: int) -> list[Run]:
        runs = [queued(count) for count in steps]
        until(
            lambda: all(fresh(run).step >= 5 for run in runs),
            "the beginning of the runs",
            meanwhile=broken.restart_dead,
        )
        return sorted(runs, key=lambda run: run.step)

    yield start
    broken.heal()
    unfinished = Run.objects.filter(state__in=[State.QUEUED, *ACTIVE])
    until(
        lambda: not retry_on_outage(unfinished.exists),
        "the end of every run",
        meanwhile=broken.restart_dead,
    )


def queued(steps: int) -> Run:
    stages = [{"name": "steady", "until": {"steps": steps}}]
    return lifecycle.create_run(team(), None, definition(stages=stages, seed=Run.objects.count()))


def team() -> Team:
    return Team.objects.get_or_create(slug="cellar", defaults={"name": "Cellar"})[0]


def fresh(run: Run) -> Run:
    """Return the run as the database has it, once that answers."""
    retry_on_outage(run.refresh_from_db)
    return run


def assert_undisturbed_record(broken: World, run: Run, attempts: int = 1) -> None:
    until(
        lambda: fresh(run).state in (State.COMPLETED, State.FAILED),
        "the run's end",
        meanwhile=broken.restart_dead,
    )
    steps = run.total_steps or 0
    assert (run.state, run.attempt, run.step) == (State.COMPLETED, attempts, steps), run.reason
    assert_complete(run)
    assert_curve(run, steady.losses((run.spec or {})["seed"], steps))
    assert run.summary["behind_s"] == 0


def log_of(run: Run) -> Path:
    return Path(Attempt.objects.get(run=run, number=run.attempt).folder) / "events"


def supervisor_of(run: Run) -> psutil.Process:
    """Return the process of the run's supervisor."""

    def found() -> psutil.Process | None:
        arguments = ["supervise", run.public_id]
        return next(
            (
                process
                for process in psutil.process_iter(["cmdline"])
                if (process.info["cmdline"] or [])[3:5] == arguments
            ),
            None,
        )

    return until(found, "a supervisor") or psutil.Process()


def reaches(log: Path, more: int) -> None:
    """Wait until the trainer has written so many more events."""
    goal = last_seq(log) + more
    until(lambda: last_seq(log) >= goal, "the trainer's going on")


def test_after_a_long_outage_of_postgres_nothing_is_declared_lost_for_a_lease_period(
    broken: World, begin: Begin
) -> None:
    """One of two runs here loses its supervisor too; a third is on a silent machine.

    The last heartbeat of that machine is a day old when the outage begins.
    """
    orphaned, run = begin(LONG, LONG)
    log = log_of(orphaned)
    [sweep] = processes(broken, "sweep")
    sweep.suspend()  # it is not to see the third run before the outage
    silent = silent_elsewhere()
    broken.kill("postgres")
    away = time.monotonic()
    supervisor_of(orphaned).kill()
    sweep.resume()
    reaches(log, 20)
    until(lambda: time.monotonic() - away > AWAY_SECONDS, "a long time")
    broken.revive("postgres")
    until(
        lambda: fresh(silent).attempt == 2,
        "the silent run's going on",
        meanwhile=broken.restart_dead,
    )
    transition = silent.transitions.get(attempt=1, state=State.QUEUED)
    assert "elsewhere was lost" in transition.reason
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_postmaster_start_time()")
        [began] = cursor.fetchone()
    assert transition.at - began >= timedelta(seconds=LEASE_SECONDS)
    assert_undisturbed_record(broken, run)
    assert_undisturbed_record(broken, orphaned)
    assert_undisturbed_record(broken, silent, attempts=2)


def silent_elsewhere() -> Run:
    """Return a run that an unknown machine has claimed before a worker here saw it in the queue."""
    with transaction.atomic():
        run = queued(STEPS)
        assert leases.claim(run.pk, "elsewhere")
        Run.objects.filter(pk=run.pk).update(heartbeat_at=Now() - timedelta(days=1))
    return run


def test_without_redis_runs_continue_and_a_page_survives_the_death_of_its_web(
    broken: World, begin: Begin
) -> None:
    address = f"127.0.0.1:{broken.start_web()}"
    [run] = begin(LONG)
    follower = Follower(address, member("ben@cellar.example", "Ben", team(), Role.VIEWER), run)
    follower.start()
    try:
        until(lambda: follower.page.cursor, "the page's first frame")
        broken.kill("redis")
        away, read_before = time.monotonic(), follower.page.cursor
        reaches(log_of(run), 20)
        until(lambda: follower.page.cursor > read_before, "the web's looking by itself")
        until(lambda: time.monotonic() - away > AWAY_SECONDS, "a long time")
        broken.kill("web")
        broken.revive("web")
        assert_undisturbed_record(broken, run)
        until(
            lambda: follower.draws_all_of(run),
            "the page's catching up",
            meanwhile=broken.restart_dead,
        )
    finally:
        follower.end()
    assert follower.connections == 2


def test_a_run_survives_a_cut_network_and_dead_workers(broken: World, begin: Begin) -> None:
    assert broken.wire is not None
    [run] = begin(2 * STEPS)
    log = log_of(run)
    broken.wire.cut()
    reaches(log, 20)
    broken.wire.reconnect()
    broken.kill("worker")
    broken.kill("sweep")
    reaches(log, 10)
    assert_undisturbed_record(broken, run)


def test_a_supervisor_that_was_suspended_for_longer_than_its_lease_continues(
    broken: World, begin: Begin
) -> None:
    [run] = begin(STEPS)
    supervisor = supervisor_of(run)
    supervisor.suspend()
    try:
        until(
            lambda: (
                leases.expired_runs(timedelta(seconds=1.5 * LEASE_SECONDS))
                .filter(pk=run.pk)
                .exists()
            ),
            "the end of its lease",
        )
    finally:
        supervisor.resume()
    assert_undisturbed_record(broken, run)
