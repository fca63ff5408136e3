"""The sweep: every few seconds it finds in Postgres what no message told anyone: waiting runs, dead
supervisors, lost machines.

It needs no broker, so that losing Redis delays a run by seconds and loses none.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from datetime import timedelta

from django.db import connections

from webapp.base.outages import OUTAGES
from webapp.clients import receipts
from webapp.ingest import pending_uploads
from webapp.library import artifacts
from webapp.nodes import queue
from webapp.nodes.holders import run_of
from webapp.nodes.models import Device
from webapp.runs import lifecycle
from webapp.runs.models import ACTIVE, Attempt, Run
from webapp.series import series_store
from workers.attempt.outage_guard import Patience
from workers.attempt.supervisor_start import start_supervisor
from workers.attempt.trainer_process import TrainerProcess
from workers.machine import host, registration
from workers.retry import persist
from workers.run_placement import place_queued, start_placed
from workers.shards import placement

logger = logging.getLogger(__name__)
PERIOD_SECONDS = min(3.0, host.LEASE_SECONDS / 4)
STORE_AGAIN_SECONDS = 30.0
COLLECT_SECONDS = 3600.0
patience = Patience()


def forever() -> None:
    collected = stored = time.monotonic()
    persist(registration.register)
    persist(end_forgotten)
    while True:
        try:
            sweep()
        except OUTAGES as error:
            logger.warning("the database does not answer, trying again: %s", str(error).strip())
            patience.lose()
            connections.close_all()
        if time.monotonic() - stored > STORE_AGAIN_SECONDS:
            stored = time.monotonic()
            persist(store_again)
        if time.monotonic() - collected > COLLECT_SECONDS:
            collected = time.monotonic()
            logger.info("removed %d artifacts that nothing names", persist(artifacts.collect))
            logger.info("compacted the series of %d runs", persist(series_store.tidy_finished))
            logger.info(
                "removed %d receipts of clients' logs that are too old to come again",
                persist(receipts.prune),
            )
        time.sleep(PERIOD_SECONDS)


def sweep() -> None:
    patience.look()
    registration.beat()
    start_placed()
    adopt_orphans()
    end_strays()
    go_on_elsewhere()
    place_queued()
    placement.sweep(may_give_up=patience.over(host.LEASE_SECONDS))


def adopt_orphans() -> None:
    """Give runs of this host, and parts of runs, a new supervisor when they have not been heard of
    for a lease period.

    One that still lives keeps them.
    """
    lease = timedelta(seconds=host.LEASE_SECONDS)
    orphans = (
        lifecycle.orphans(lease)
        .filter(lease_holder=host.name())
        .values_list("public_id", "attempt")
    )
    parts = lifecycle.silent(lifecycle.members_at_work(host.name()), lease).values_list(
        "attempt__run__public_id", "attempt__number"
    )
    for public_id, attempt in [*orphans, *parts]:
        start_supervisor(public_id, attempt)


def store_again() -> None:
    """Give attempts of this host that are over a supervisor for a moment, if files of theirs still
    wait for the artifact store.
    """
    attempts = Attempt.objects.filter(
        host=host.name(), run__summary__has_key="unstored"
    ).select_related("run")
    for attempt in attempts:
        if pending_uploads.waiting(attempt.run_id, attempt.number):
            start_supervisor(attempt.run.public_id, attempt.number)


def end_strays() -> None:
    """Attempts that hold devices here and are not at work any more: a supervisor stops the trainer,
    keeps its last words and leaves.

    If the run only waits, because this host was given up for lost, that supervisor takes it back.
    """
    mine = (
        Device.objects.filter(node__name=host.name(), allocated_to__startswith="run/")
        .values_list("allocated_to", flat=True)
        .distinct()
    )
    _end_unless_current([found for holder in mine if (found := run_of(holder))])


def end_forgotten() -> None:
    """The same for trainers that are still alive on this host though nobody remembers what they
    hold.
    """
    folders = [path.parent for path in host.runs_folder().glob("*/attempts/*/process.json")]
    _end_unless_current(
        [
            (folder.parts[-3], int(folder.name))
            for folder in folders
            if not TrainerProcess(folder).ended()
        ]
    )


def _end_unless_current(attempts: Sequence[tuple[str, int]]) -> None:
    runs = Run.objects.filter(
        public_id__in=[public_id for public_id, _ in attempts], state__in=ACTIVE
    )
    current = dict(runs.values_list("public_id", "attempt"))
    for public_id, attempt in attempts:
        if current.get(public_id) != attempt:
            start_supervisor(public_id, attempt)


def go_on_elsewhere() -> None:
    """Queue the runs of lost machines again: neither the machine nor the run has been heard of for
    a lease period.

    Not in the first lease period after an outage of Postgres or of this process: the others have a
    right to be heard first.
    """
    lease = timedelta(seconds=host.LEASE_SECONDS)
    if not patience.over(host.LEASE_SECONDS):
        return
    here = [host.name(), *queue.alive().values_list("name", flat=True)]
    for run in lifecycle.orphans(lease).exclude(lease_holder__in=here).defer("spec"):
        reason = f"{run.lease_holder} was lost: it has not been heard of since {run.heartbeat_at:%H:%M:%S} UTC."
        if lifecycle.abandon(run.pk, run.attempt, lease, reason):
            logger.warning("run %s: %s", run.public_id, reason)
