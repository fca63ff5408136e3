"""Placement of the parts (shards) of jobs on devices of this host.

It also looks after the copies at work: silent ones are replaced, and slow parts get a second copy.
Jobs wait for the same devices as runs, and runs come first. A part takes minutes, so a run waits
for one part at most. Among jobs the team with the fewest copies at work comes first, then the job
with the fewest, then the oldest.
"""

from __future__ import annotations

import logging
import statistics
from collections import Counter
from datetime import timedelta
from pathlib import Path

from django.conf import settings
from django.db import transaction
from django.db.models import Count, F, Min, Q
from django.db.models.functions import Extract, Now

from trainer.text.problems import ProblemError
from webapp.access.models import Team
from webapp.base.outages import OUTAGES
from webapp.jobs import checkpoint_evaluations, lifecycle, results
from webapp.jobs.models import Copy, Job, Outcome, Shard, State
from webapp.nodes import queue
from webapp.nodes.models import Device, Kind
from workers.detached import start_detached
from workers.machine import allocation, host, registration

log = logging.getLogger(__name__)
# Times the median duration of the job's finished parts.
SLOW = 3.0
# Below this a second copy would cost more than it could save.
LEAST_SLOW_SECONDS = 30.0
LOST = "The machine {host} was not heard of any more."
NO_DATA_SET = "No data set was made of the answers: {reason} The files below have them."


def sweep(may_declare_lost: bool = True) -> None:
    """Find work of which no message arrived: silent copies, finished jobs, waiting parts.

    `may_declare_lost` is False right after this process lost the database: then no copy is declared
    lost.
    """
    restart_runners()
    if may_declare_lost:
        declare_lost()
    release_devices()
    finished = Job.objects.filter(state=State.RUNNING).exclude(shards__result=None)
    for job_id in finished.values_list("pk", flat=True):
        complete_job(job_id)
    place_waiting()


def place_waiting() -> int:
    """Start runners for waiting and slow parts while this host has free devices.

    Returns how many were started.
    """
    registration.heartbeat()
    started = 0
    while copy := _claim_next():
        start_runner(copy)
        started += 1
    return started


def _claim_next() -> Copy | None:
    """Claim the next copy, on a device that no run waits for and within the quota of its team."""
    # `+` drops the kinds of device of which none is free, so that an empty counter means none at
    # all.
    free = +queue.unreserved_devices(host.name())
    placeable = (
        shard
        for shard in ([*_waiting(), *_slow()] if free else [])
        if free[_device_kind(shard.job)] and _within_quota(shard.job.team)
    )
    return next(filter(None, map(claim, placeable)), None)


def claim(shard: Shard) -> Copy | None:
    """Create a copy of the part with a device of this host.

    Returns None if no device is free, or the part already has as many copies as it needs.
    """
    with transaction.atomic():
        # Only the shard's row is locked; a part that another host is claiming is skipped.
        locked = Shard.objects.select_for_update(skip_locked=True, of=("self",)).select_related(
            "job__team"
        )
        row = locked.filter(pk=shard.pk, result=None, job__state=State.RUNNING).first()
        # Asked again under the lock: another host may have taken the part since it was listed.
        if row is None or (row.copies.filter(ended_at=None).exists() and row not in _slow()):
            return None
        copy = Copy(shard=row, number=row.copies.count() + 1, host=host.name())
        devices = allocation.claim(1, _device_kind(row.job), copy.allocation_key, team=row.job.team)
        if devices is None:
            return None
        copy.device = f"{devices[0].kind} {devices[0].index}"
        copy.save()
        # Times are Postgres' own, because clocks of hosts differ.
        Copy.objects.filter(pk=copy.pk).update(started_at=Now(), heartbeat_at=Now())
    return copy


def _waiting() -> list[Shard]:
    """Return the next waiting part of each job, in the order in which jobs are served."""
    copies = Copy.objects.filter(ended_at=None, shard__job__state=State.RUNNING)
    at_work = list(copies.values_list("shard__job", "shard__job__team"))
    job_copies = Counter(job for job, _ in at_work)
    team_copies = Counter(team for _, team in at_work)
    jobs = sorted(
        Job.objects.filter(state=State.RUNNING),
        key=lambda job: (team_copies[job.team_id], job_copies[job.pk], job.created_at),
    )
    waiting = (
        Shard.objects.filter(result=None)
        .exclude(copies__in=Copy.objects.filter(ended_at=None))
        .order_by("part")
    )
    shards = (waiting.filter(job=job).first() for job in jobs)
    return [shard for shard in shards if shard is not None]


def _slow() -> list[Shard]:
    """Return parts whose only copy takes far longer than the job's finished parts took."""
    durations = Copy.objects.annotate(
        seconds=Extract(F("ended_at") - F("started_at"), "epoch")
    ).filter(outcome=Outcome.WON)
    shards = Shard.objects.filter(result=None, job__state=State.RUNNING).annotate(
        at_work=Count("copies", filter=Q(copies__ended_at=None)),
        age=Extract(Now() - Min("copies__started_at", filter=Q(copies__ended_at=None)), "epoch"),
    )
    slow: list[Shard] = []
    for shard in shards.filter(at_work=1).order_by("job__created_at", "part"):
        seconds = list(durations.filter(shard__job=shard.job_id).values_list("seconds", flat=True))
        # The median, because one slow part must not hide another.
        if seconds and shard.age > max(LEAST_SLOW_SECONDS, SLOW * statistics.median(seconds)):
            slow.append(shard)
    return slow


def _within_quota(team: Team) -> bool:
    if team.device_quota is None:
        return True
    return Device.objects.filter(team=team).exclude(allocated_to="").count() < team.device_quota


def _device_kind(job: Job) -> str:
    """Return the kind of device that a part needs here.

    A job whose model is elsewhere needs a CPU slot, because the work is done there.
    """
    device = job.spec["compute"]["device"]
    if job.spec["model"]["kind"] in ("endpoint", "served") or device == "cpu":
        return Kind.CPU
    has_gpu = Device.objects.filter(node__name=host.name(), kind=Kind.CUDA, retired=False).exists()
    return Kind.CUDA if device == "cuda" or has_gpu else Kind.CPU


def start_runner(copy: Copy) -> bool:
    """Start a detached runner; return False if the copy already has one on this host."""
    return start_detached(folder_of(copy), "runner", "carry-shard", str(copy.pk))


def folder_of(copy: Copy) -> Path:
    return Path(settings.STILLROOM_STATE) / "shards" / str(copy.shard_id) / str(copy.number)


def restart_runners() -> None:
    """Start new runners for silent copies of this host; a runner finds a trainer that still runs.

    Where a runner still lives, it holds the copy's lock and no second one starts.
    """
    for copy in lifecycle.expired_copies(timedelta(seconds=host.LEASE_SECONDS)).filter(
        host=host.name()
    ):
        if start_runner(copy):
            Copy.objects.filter(pk=copy.pk).update(heartbeat_at=Now())
            log.info(
                "part %s of job %s has a new runner", copy.shard.part, copy.shard.job.public_id
            )


def declare_lost() -> None:
    """End copies on any host that stay silent; their parts are placed again.

    Two lease periods, because in the second one their own host may still start a new runner.
    """
    for copy in lifecycle.expired_copies(2 * timedelta(seconds=host.LEASE_SECONDS)):
        if lifecycle.mark_lost(copy, LOST.format(host=copy.host)):
            allocation.release(copy.allocation_key)


def release_devices() -> None:
    """Release devices of ended copies whose runner died before it could."""
    shard_devices = Device.objects.filter(allocated_to__startswith="shard/")
    for key in shard_devices.values_list("allocated_to", flat=True):
        shard, _, number = key.removeprefix("shard/").partition("/")
        if not Copy.objects.filter(shard=int(shard), number=int(number), ended_at=None).exists():
            allocation.release(key)


def complete_job(job_id: int) -> bool:
    """Complete a job whose parts are all done; return False if a part is missing.

    A teacher's answers or scores become a data set first, if they can, and the results of a
    checkpoint an evaluation of its run.
    """
    job = Job.objects.select_related("team", "owner").get(pk=job_id)
    if job.shards.filter(result=None).exists():
        return False
    data_set, reason = None, ""
    try:
        data_set = results.store_data_set(job)
    except ProblemError as error:
        reason = NO_DATA_SET.format(reason=error)
    try:
        checkpoint_evaluations.record(job)
    except OUTAGES:
        raise
    # The job has its results. Each sweep would fail by it, and the other jobs and runs would wait.
    except Exception:
        log.exception("the results of job %s count as no evaluation of its run", job.public_id)
    return lifecycle.finish(job.pk, data_set, reason)
