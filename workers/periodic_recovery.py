"""The sweep: every few seconds it looks in Postgres for work of which no message arrived.

    python -m workers sweep

It finds waiting runs, dead supervisors and lost machines. It needs no broker, so losing Redis
delays a run by seconds and loses none.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from datetime import timedelta

from django.db import connections

from webapp.base.outages import OUTAGES
from webapp.clients import receipts, run_indexes
from webapp.ingest import pending_uploads
from webapp.library import artifacts
from webapp.nodes import queue
from webapp.nodes.allocation_keys import attempt_from_key
from webapp.nodes.models import Device
from webapp.preflights.preflights import prune as prune_preflights
from webapp.runs import deletion, leases
from webapp.runs.models import ACTIVE, Attempt, Run
from webapp.series import series_store
from workers import bases, heartbeat, preflights
from workers.attempt.outage_guard import OutageGuard
from workers.attempt.supervisor_start import start_supervisor
from workers.attempt.trainer_process import TrainerProcess
from workers.database import retry_on_outage
from workers.machine import host, registration, removed_runs
from workers.run_placement import place_queued, start_placed
from workers.shards import placement

logger = logging.getLogger(__name__)
# At most a quarter of a lease, so that an expired lease is noticed soon after.
PERIOD_SECONDS = min(3.0, host.LEASE_SECONDS / 4)
# Supervisors retry uploads more often while they live; these are for attempts that have ended.
UPLOAD_RETRY_SECONDS = 30.0
CLEANUP_SECONDS = 3600.0
outage_guard = OutageGuard()


def run_forever() -> None:
    cleaned_at = uploaded_at = time.monotonic()
    retry_on_outage(registration.register)
    retry_on_outage(end_unrecorded_trainers)
    while True:
        heartbeat.beat()
        try:
            sweep()
        except OUTAGES as error:
            logger.warning("the database does not answer, trying again: %s", str(error).strip())
            outage_guard.record_outage()
            connections.close_all()
        if time.monotonic() - uploaded_at > UPLOAD_RETRY_SECONDS:
            uploaded_at = time.monotonic()
            retry_on_outage(retry_uploads)
            retry_on_outage(run_indexes.catch_up)
        if time.monotonic() - cleaned_at > CLEANUP_SECONDS:
            cleaned_at = time.monotonic()
            # A large store takes long.
            heartbeat.beat(within=CLEANUP_SECONDS)
            # Before the artifacts, of which these runs name some.
            logger.info(
                "removed %d runs that were deleted a day ago",
                retry_on_outage(deletion.remove_expired),
            )
            logger.info(
                "removed %d folders of removed runs", retry_on_outage(removed_runs.remove_folders)
            )
            logger.info("removed %d unused artifacts", retry_on_outage(artifacts.collect))
            logger.info(
                "compacted the series of %d runs", retry_on_outage(series_store.compact_finished)
            )
            logger.info(
                "removed %d receipts of client logs that are too old to be sent again",
                retry_on_outage(receipts.prune),
            )
            logger.info("removed %d old preflights", retry_on_outage(prune_preflights))
        time.sleep(PERIOD_SECONDS)


def sweep() -> None:
    outage_guard.check()
    registration.heartbeat()
    start_placed()
    adopt_orphans()
    end_stale_attempts()
    requeue_lost_runs()
    place_queued()
    # After the runs, which come before jobs.
    placement.sweep(may_declare_lost=outage_guard.is_calm_for(host.LEASE_SECONDS))
    preflights.start_runners()
    bases.start_runner()


def adopt_orphans() -> None:
    """Start new supervisors for attempts on this host without a heartbeat for a lease period.

    Where a supervisor still lives, it holds the attempt's lock and no second one starts.
    """
    lease = timedelta(seconds=host.LEASE_SECONDS)
    led = (
        leases.expired_runs(lease)
        .filter(lease_holder=host.name())
        .values_list("public_id", "attempt")
    )
    joined = leases.expired_members(leases.members_on_machine(host.name()), lease).values_list(
        "attempt__run__public_id", "attempt__number"
    )
    for public_id, attempt in [*led, *joined]:
        start_supervisor(public_id, attempt)


def retry_uploads() -> None:
    """Start supervisors for ended attempts of this host whose files are not all stored yet.

    Such a supervisor stores what it can and exits.
    """
    attempts = Attempt.objects.filter(
        host=host.name(), run__summary__has_key="unstored"
    ).select_related("run")
    for attempt in attempts:
        if pending_uploads.pending_seqs(attempt.run_id, attempt.number):
            start_supervisor(attempt.run.public_id, attempt.number)


def end_stale_attempts() -> None:
    """Start supervisors for attempts that hold devices here and are not active any more.

    Such a supervisor stops the trainer, records its last events and exits. If the run waits because
    this host was declared lost, the supervisor takes the run back.
    """
    keys = (
        Device.objects.filter(node__name=host.name(), allocated_to__startswith="run/")
        .values_list("allocated_to", flat=True)
        .distinct()
    )
    _end_unless_current([attempt for key in keys if (attempt := attempt_from_key(key))])


def end_unrecorded_trainers() -> None:
    """Do the same for trainers that are alive on this host and have no recorded device."""
    folders = [path.parent for path in host.runs_folder().glob("*/attempts/*/process.json")]
    _end_unless_current(
        [
            (folder.parts[-3], int(folder.name))
            for folder in folders
            if not TrainerProcess(folder).ended()
        ]
    )


def _end_unless_current(attempts: Sequence[tuple[str, int]]) -> None:
    public_ids = [public_id for public_id, _ in attempts]
    runs = Run.objects.filter(public_id__in=public_ids, state__in=ACTIVE)
    current = dict(runs.values_list("public_id", "attempt"))
    for public_id, attempt in attempts:
        if current.get(public_id) != attempt:
            start_supervisor(public_id, attempt)


def requeue_lost_runs() -> None:
    """Queue runs again if neither they nor their machine have had a heartbeat for a lease period.

    Nothing is declared lost in the first lease period after an outage of Postgres or of this
    process: heartbeats of the others could not be recorded or read during it.
    """
    lease = timedelta(seconds=host.LEASE_SECONDS)
    if not outage_guard.is_calm_for(host.LEASE_SECONDS):
        return
    alive = [host.name(), *queue.live_nodes().values_list("name", flat=True)]
    # Definitions are long and not needed here.
    for run in leases.expired_runs(lease).exclude(lease_holder__in=alive).defer("spec"):
        reason = (
            f"{run.lease_holder} was lost: "
            f"it has not been heard of since {run.heartbeat_at:%H:%M:%S} UTC."
        )
        if leases.expire(run.pk, run.attempt, lease, reason):
            logger.warning("run %s: %s", run.public_id, reason)
