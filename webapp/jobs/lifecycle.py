"""Changes of the state of jobs, of their parts, and of the copies that work on these.

Every change is one conditional UPDATE, so that of two concurrent callers one wins and the other
learns that it lost: the first result of a part is kept, and a job ends once. All may be repeated.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from trainer.spec.jobs import JobSpec
from webapp.access.models import Team, User
from webapp.base import celery_client
from webapp.jobs.models import Copy, Job, Outcome, Shard, State
from webapp.library.models import Artifact, DataSet
from webapp.runs.transitions import TransitionRefused

MAX_PARTS = 64
# Several parts per device, so that one slow device delays only its last part.
PARTS_PER_DEVICE = 4
# For sources whose number of problems is not known before they are read.
PARTS_IF_COUNT_UNKNOWN = 16
MAX_FAILURES_OF_A_PART = 3


def create_job(
    team: Team, owner: User | None, spec: JobSpec, problems: int | None, devices: int
) -> Job:
    """Create a job and its parts.

    `problems` is the number of problems (None if unknown), `devices` that of the installation.
    """
    part_count = parts_for(problems, spec.compute.block, devices)
    with transaction.atomic():
        job = Job.objects.create(
            team=team,
            owner=owner,
            name=spec.name,
            kind=spec.work.kind,
            spec=spec.model_dump(mode="json"),
        )
        Shard.objects.bulk_create([Shard(job=job, part=index) for index in range(part_count)])
        transaction.on_commit(celery_client.wake_jobs)
    return job


def parts_for(problems: int | None, block: int, devices: int) -> int:
    """Return how many parts a job is split into; never more than there are blocks of problems."""
    if problems is None:
        return PARTS_IF_COUNT_UNKNOWN
    return max(1, min(-(-problems // block), PARTS_PER_DEVICE * max(1, devices), MAX_PARTS))


def stop(job: Job) -> None:
    """End a job; finished parts keep their results. Raises TransitionRefused if it has ended."""
    if not _end(job.pk, State.STOPPED, "Stopped on request."):
        job.refresh_from_db()
        raise TransitionRefused(f"This job is {job.state} already, so there is nothing to stop.")


def heartbeat(copy: Copy, done: int) -> bool:
    """Renew the heartbeat of a copy and store its progress; False if the copy has to end.

    It ends when it was declared lost, another copy finished the part, or the job is over.
    """
    # A copy that was declared lost must not look alive again: another one may be at its part.
    unfinished = Copy.objects.filter(pk=copy.pk, ended_at=None)
    if not unfinished.update(heartbeat_at=Now(), done=done):
        return False
    return _unanswered().filter(pk=copy.shard_id).exists()


def complete(copy: Copy, result: Artifact, tally: dict[str, Any]) -> bool:
    """Store the result of a part; False if another copy was first, and nothing is stored."""
    with transaction.atomic():
        won = _unanswered().filter(pk=copy.shard_id).update(result=result, tally=tally) == 1
        end_copy(copy, Outcome.WON if won else Outcome.LATE)
    return won


def end_copy(copy: Copy, outcome: Outcome, reason: str = "") -> bool:
    """Store the outcome of a copy; False if it has one already."""
    return (
        Copy.objects.filter(pk=copy.pk, ended_at=None).update(
            ended_at=Now(), outcome=outcome, reason=reason
        )
        == 1
    )


def fail(copy: Copy, reason: str, for_good: bool) -> None:
    """End a copy that has no result.

    The job fails at once if the failure is permanent (`for_good`), else after several failures of
    the same part.
    """
    with transaction.atomic():
        end_copy(copy, Outcome.FAILED, reason)
        if for_good:
            _end(copy.shard.job_id, State.FAILED, reason)
        else:
            _fail_job_if_exhausted(copy, reason)


def mark_lost(copy: Copy, reason: str) -> bool:
    """Declare a copy without a heartbeat lost; False if it has ended.

    Its part is started again, unless that has happened too often.
    """
    with transaction.atomic():
        ended = end_copy(copy, Outcome.LOST, reason)
        if ended:
            _fail_job_if_exhausted(copy, reason)
    return ended


def _fail_job_if_exhausted(copy: Copy, reason: str) -> None:
    # A part with a result has not failed, however many of its other copies have.
    failures = Copy.objects.filter(
        shard=copy.shard_id, shard__result=None, outcome__in=[Outcome.FAILED, Outcome.LOST]
    ).count()
    if failures >= MAX_FAILURES_OF_A_PART:
        _end(
            copy.shard.job_id,
            State.FAILED,
            f"Part {copy.shard.part + 1} failed {failures} times; the last time: {reason}",
        )


def expired_copies(lease: timedelta) -> QuerySet[Copy]:
    """Return unfinished copies without a heartbeat for `lease`, by the clock of the database."""
    return Copy.objects.filter(ended_at=None, heartbeat_at__lt=Now() - lease).select_related(
        "shard__job"
    )


def finish(job_id: int, data_set: DataSet | None = None, reason: str = "") -> bool:
    """Complete a job; False if a part is not done or the job is not running any more.

    `reason` is why it has no data set.
    """
    if Shard.objects.filter(job=job_id, result=None).exists():
        return False
    return _end(job_id, State.COMPLETED, reason, data_set=data_set)


def delete(job: Job) -> None:
    """Delete a job that has ended, with its results. A data set made from it stays.

    Raises TransitionRefused while the job is running.
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


def _unanswered() -> QuerySet[Shard]:
    """Return the parts of running jobs that have no result.

    The condition is on the part's own column, so that the second of two concurrent updates sees it.
    """
    return Shard.objects.filter(result=None, job__in=Job.objects.filter(state=State.RUNNING))


def _end(job_id: int, state: State, reason: str, **values: Any) -> bool:
    running = Job.objects.filter(pk=job_id, state=State.RUNNING)
    return running.update(state=state, reason=reason, finished_at=Now(), **values) == 1
