"""Giving the parts of jobs to devices of this host, and looking after what was given: silent copies
are replaced, slow parts doubled.

Jobs wait behind the same devices as runs, which are asked first; a part takes minutes, so a run
waits for one at most. Among jobs the team with the fewest devices at work on its jobs comes first,
then the job with the fewest, then the oldest.
"""

from __future__ import annotations

import fcntl
import logging
import statistics
import subprocess
import sys
from collections import Counter
from datetime import timedelta
from pathlib import Path

from django.conf import settings
from django.db import transaction
from django.db.models import Count, F, Min, Q
from django.db.models.functions import Extract, Now

from webapp.access.models import Team
from webapp.jobs import lifecycle, results
from webapp.jobs.models import Copy, Job, Outcome, Shard, State
from webapp.nodes import queue
from webapp.nodes.models import Device, Kind
from workers.attempt.trainer_process import REPOSITORY
from workers.machine import allocation, host, registration

log = logging.getLogger(__name__)
SLOW = 3.0  # times the median of the parts that are done
LEAST_SLOW_SECONDS = 30.0
LOST = "The machine {host} was not heard of any more."


def sweep(may_give_up: bool = True) -> None:
    """What nobody was told: silent copies, finished jobs that nobody closed, parts that wait.

    `may_give_up` is False while this process may itself have been deaf: then no copy is called
    lost.
    """
    adopt()
    if may_give_up:
        give_up()
    give_back()
    for job_id in (
        Job.objects.filter(state=State.RUNNING)
        .exclude(shards__result=None)
        .values_list("pk", flat=True)
    ):
        close(job_id)
    place_waiting()


def place_waiting() -> int:
    """Start runners for parts that wait, then for slow ones, while this host has free devices;
    return how many.
    """
    registration.beat()
    started = 0
    while copy := _next():
        start_runner(copy)
        started += 1
    return started


def _next() -> Copy | None:
    """The next copy, on a device that no run waits for and within the quota of its team."""
    free = +queue.left_over(host.name())
    suiting = (
        shard
        for shard in ([*_waiting(), *_slow()] if free else [])
        if free[_kind(shard.job)] and _within_quota(shard.job.team)
    )
    return next(filter(None, map(claim, suiting)), None)


def claim(shard: Shard) -> Copy | None:
    """A copy of the part, with a device of this host; None if there is none free, or the part has
    its copies already.
    """
    with transaction.atomic():
        locked = Shard.objects.select_for_update(skip_locked=True, of=("self",)).select_related(
            "job__team"
        )
        found = locked.filter(pk=shard.pk, result=None, job__state=State.RUNNING).first()
        if found is None or (found.copies.filter(ended_at=None).exists() and found not in _slow()):
            return None
        copy = Copy(shard=found, number=found.copies.count() + 1, host=host.name())
        lent = allocation.claim(1, _kind(found.job), copy.holder, team=found.job.team)
        if lent is None:
            return None
        copy.device = f"{lent[0].kind} {lent[0].index}"
        copy.save()
        Copy.objects.filter(pk=copy.pk).update(started_at=Now(), heartbeat_at=Now())
    return copy


def _waiting() -> list[Shard]:
    """The next part of each job that has one to give, in the order in which jobs are served."""
    at_work = Copy.objects.filter(ended_at=None, shard__job__state=State.RUNNING).values_list(
        "shard__job", "shard__job__team"
    )
    jobs, teams = (
        (Counter(column) for column in zip(*at_work, strict=True))
        if at_work
        else (Counter(), Counter())
    )
    served = sorted(
        Job.objects.filter(state=State.RUNNING),
        key=lambda job: (teams[job.team_id], jobs[job.pk], job.created_at),
    )
    waiting = (
        Shard.objects.filter(result=None)
        .exclude(copies__in=Copy.objects.filter(ended_at=None))
        .order_by("part")
    )
    return [
        shard for shard in (waiting.filter(job=job).first() for job in served) if shard is not None
    ]


def _slow() -> list[Shard]:
    """Parts whose only copy takes far longer than those of its job that are done did."""
    took = Copy.objects.annotate(seconds=Extract(F("ended_at") - F("started_at"), "epoch")).filter(
        outcome=Outcome.WON
    )
    alone = Shard.objects.filter(result=None, job__state=State.RUNNING).annotate(
        at_work=Count("copies", filter=Q(copies__ended_at=None)),
        age=Extract(Now() - Min("copies__started_at", filter=Q(copies__ended_at=None)), "epoch"),
    )
    found: list[Shard] = []
    for shard in alone.filter(at_work=1).order_by("job__created_at", "part"):
        done = list(took.filter(shard__job=shard.job_id).values_list("seconds", flat=True))
        if done and shard.age > max(LEAST_SLOW_SECONDS, SLOW * statistics.median(done)):
            found.append(shard)
    return found


def _within_quota(team: Team) -> bool:
    return (
        team.device_quota is None
        or Device.objects.filter(team=team).exclude(allocated_to="").count() < team.device_quota
    )


def _kind(job: Job) -> str:
    """The kind of device that a part needs here. An endpoint does the work elsewhere."""
    wanted = job.spec["compute"]["device"]
    if job.spec["model"]["kind"] == "endpoint" or wanted == "cpu":
        return Kind.CPU
    has_gpu = Device.objects.filter(node__name=host.name(), kind=Kind.CUDA, retired=False).exists()
    return Kind.CUDA if wanted == "cuda" or has_gpu else Kind.CPU


def start_runner(copy: Copy) -> bool:
    """Start a detached runner; False if the copy has one on this host. The lock is inherited, so it
    is held until that process dies.
    """
    folder = folder_of(copy)
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "workers", "carry-shard", str(copy.pk)]
    with (folder / "runner.lock").open("ab") as lock, (folder / "runner.log").open("ab") as output:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        keep = [lock.fileno()]
        subprocess.Popen(
            command,
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            pass_fds=keep,
        )
    return True


def folder_of(copy: Copy) -> Path:
    return Path(settings.STILLROOM_STATE) / "shards" / str(copy.shard_id) / str(copy.number)


def adopt() -> None:
    """Give silent copies of this host a new runner, which finds its trainer. One that still lives
    keeps them.
    """
    for copy in lifecycle.silent(timedelta(seconds=host.LEASE_SECONDS)).filter(host=host.name()):
        if start_runner(copy):
            Copy.objects.filter(pk=copy.pk).update(heartbeat_at=Now())
            log.info(
                "part %s of job %s has a new runner", copy.shard.part, copy.shard.job.public_id
            )


def give_up() -> None:
    """Copies that stay silent are lost, wherever they are; their parts are done again."""
    for copy in lifecycle.silent(2 * timedelta(seconds=host.LEASE_SECONDS)):
        if lifecycle.lose(copy, LOST.format(host=copy.host)):
            allocation.release(copy.holder)


def give_back() -> None:
    """What copies hold that have ended is given back, should their runner have died before it
    could.
    """
    for holder in Device.objects.filter(allocated_to__startswith="shard/").values_list(
        "allocated_to", flat=True
    ):
        shard, _, number = holder.removeprefix("shard/").partition("/")
        if not Copy.objects.filter(shard=int(shard), number=int(number), ended_at=None).exists():
            allocation.release(holder)


def close(job_id: int) -> bool:
    """Complete a job whose parts are all done; a teacher's answers become a data set first."""
    job = Job.objects.select_related("team", "owner").get(pk=job_id)
    if job.shards.filter(result=None).exists():
        return False
    return lifecycle.finish(
        job.pk, results.keep_answers(job) if job.kind == "teacher_answers" else None
    )
