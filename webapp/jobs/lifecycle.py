"""What may become of a job and of its parts, and who may change them.

Every change is one conditional UPDATE, so that of two who try at once one wins and the other hears
of it: a part's first answer stays, and a job ends once. Both may be tried again at any time.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from trainer.spec.jobs import JobSpec
from webapp.access.models import Team, User
from webapp.base import celery_client
from webapp.jobs.models import Copy, Job, Outcome, Shard, State
from webapp.library.models import Artifact, DataSet
from webapp.runs.transitions import TransitionRefused

MOST_PARTS = 64
PARTS_PER_DEVICE = 4
PARTS_OF_THE_UNKNOWN = 16
MOST_FAILURES = 3


def create_job(
    team: Team, owner: User | None, spec: JobSpec, problems: int | None, devices: int
) -> Job:
    """A new job, cut into parts; `problems` is how many there are, if that is known, `devices` how
    many the installation has.
    """
    parts = parts_for(problems, spec.compute.block, devices)
    with transaction.atomic():
        job = Job.objects.create(
            team=team,
            owner=owner,
            name=spec.name,
            kind=spec.work.kind,
            spec=spec.model_dump(mode="json"),
        )
        Shard.objects.bulk_create([Shard(job=job, part=part) for part in range(parts)])
        transaction.on_commit(lambda: celery_client.wake_jobs())
    return job


def parts_for(problems: int | None, block: int, devices: int) -> int:
    """Some parts for each device, so that a slow one holds little up; never more than there are
    blocks.
    """
    if problems is None:
        return PARTS_OF_THE_UNKNOWN
    return max(1, min(-(-problems // block), PARTS_PER_DEVICE * max(1, devices), MOST_PARTS))


def stop(job: Job) -> None:
    """End a job at once; what its parts have found stays. Raises TransitionRefused."""
    if not _end(job.pk, State.STOPPED, "Stopped on request."):
        job.refresh_from_db()
        raise TransitionRefused(f"This job is {job.state} already, so there is nothing to stop.")


def heartbeat(copy: Copy, done: int) -> bool:
    """Show that a copy lives; False if it is to end, because it was given up, its part is done, or
    its job is over.
    """
    mine = Copy.objects.filter(pk=copy.pk, ended_at=None)
    if not mine.update(heartbeat_at=Now(), done=done):
        return False
    return _open().filter(pk=copy.shard_id).exists()


def complete(copy: Copy, result: Artifact, tally: dict[str, Any]) -> bool:
    """The first answer to a part wins; False for a late one, of which nothing is kept."""
    with transaction.atomic():
        won = _open().filter(pk=copy.shard_id).update(result=result, tally=tally) == 1
        end_copy(copy, Outcome.WON if won else Outcome.LATE)
    return won


def end_copy(copy: Copy, outcome: Outcome, reason: str = "") -> bool:
    """Write down what became of a copy; False if that was known already."""
    return (
        Copy.objects.filter(pk=copy.pk, ended_at=None).update(
            ended_at=Now(), outcome=outcome, reason=reason
        )
        == 1
    )


def fail(copy: Copy, reason: str, for_good: bool) -> None:
    """A copy ended without an answer. The job fails with it `for_good`, or once its part has failed
    too often.
    """
    with transaction.atomic():
        end_copy(copy, Outcome.FAILED, reason)
        if for_good:
            _end(copy.shard.job_id, State.FAILED, reason)
        else:
            _count_failures(copy, reason)


def mark_lost(copy: Copy, reason: str) -> bool:
    """Give a copy up that was not heard of; False if it has ended. Its part is done again, unless
    that has happened too often.
    """
    with transaction.atomic():
        lost = end_copy(copy, Outcome.LOST, reason)
        if lost:
            _count_failures(copy, reason)
    return lost


def _count_failures(copy: Copy, reason: str) -> None:
    tries = Copy.objects.filter(
        shard=copy.shard_id, shard__result=None, outcome__in=[Outcome.FAILED, Outcome.LOST]
    ).count()
    if tries >= MOST_FAILURES:
        _end(
            copy.shard.job_id,
            State.FAILED,
            f"Part {copy.shard.part + 1} failed {tries} times; the last time: {reason}",
        )


def expired_copies(lease: timedelta) -> QuerySet[Copy]:
    """Copies at work that have not been heard of for `lease`, by the clock of the database."""
    return Copy.objects.filter(ended_at=None, heartbeat_at__lt=Now() - lease).select_related(
        "shard__job"
    )


def finish(job_id: int, data_set: DataSet | None = None) -> bool:
    """Complete a job all of whose parts are done; False if it is not running any more, or some are
    not.
    """
    if Shard.objects.filter(job=job_id, result=None).exists():
        return False
    return _end(job_id, State.COMPLETED, "", data_set=data_set)


def delete(job: Job) -> None:
    """Remove a job that is over, with all that it has found. A data set that it made stays. Raises
    TransitionRefused.
    """
    with transaction.atomic():
        if (
            not Job.objects.select_for_update()
            .filter(pk=job.pk)
            .exclude(state=State.RUNNING)
            .exists()
        ):
            raise TransitionRefused("Stop this job before you delete it.")
        job.delete()


def _open() -> QuerySet[Shard]:
    """Parts that wait for an answer. The part's own column is asked, so that of two updates at once
    the second finds it set.
    """
    return Shard.objects.filter(result=None, job__in=Job.objects.filter(state=State.RUNNING))


def _end(job_id: int, state: State, reason: str, **values: Any) -> bool:
    running = Job.objects.filter(pk=job_id, state=State.RUNNING)
    return running.update(state=state, reason=reason, finished_at=timezone.now(), **values) == 1
