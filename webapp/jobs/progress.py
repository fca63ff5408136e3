"""The progress of jobs: counts, and the text that pages show."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any

from trainer.spec import FileProblems
from trainer.spec.jobs import JobSpec, load_job
from webapp.access.models import Team
from webapp.jobs.models import Copy, Job, Outcome, Shard, State
from webapp.library import locations
from webapp.library.locations import LocationError

OUTCOME_TEXTS = {
    "": "at work",
    Outcome.WON: "answered",
    Outcome.LATE: "another was quicker",
    Outcome.FAILED: "failed",
    Outcome.LOST: "lost",
    Outcome.STOPPED: "stopped",
}


@dataclass
class JobCounts:
    """Answered problems, finished parts, all parts, and running copies of a job."""

    done: int = 0
    parts_done: int = 0
    parts: int = 0
    at_work: int = 0


@dataclass
class JobProgress(JobCounts):
    """Counts with the total number of problems.

    `of` is None if that number is not known yet; `waits` if no unfinished part has a device.
    """

    of: int | None = None
    waits: bool = False

    @property
    def words(self) -> str:
        if self.parts_done == self.parts:
            return f"{self.done:,} problems"
        total = f" of {self.of:,}" if self.of else ""
        waiting = ", waiting for a free device" if self.waits else ""
        return (
            f"{self.done:,}{total} problems, {self.parts_done} of {self.parts} parts done{waiting}"
        )


@dataclass(frozen=True)
class PartProgress:
    """One part of a job with the copies that worked on it."""

    number: int
    state: str
    problems: int | None
    tries: list[dict[str, Any]]


def progress_by_job(jobs: Collection[Job]) -> dict[int, JobProgress]:
    """Return the progress of each job by its primary key."""
    counts_by_job = counts(jobs)
    return {
        job.pk: JobProgress(
            **asdict(counts_by_job[job.pk]),
            of=count_problems(load_job(job.spec), job.team),
            waits=job.state == State.RUNNING and not counts_by_job[job.pk].at_work,
        )
        for job in jobs
    }


def counts(jobs: Collection[Job]) -> dict[int, JobCounts]:
    """Return counts by the job's primary key, in two queries for any number of jobs."""
    counts_by_job = {job.pk: JobCounts() for job in jobs}
    for job, result, problems in Shard.objects.filter(job__in=counts_by_job).values_list(
        "job", "result", "tally__problems"
    ):
        counts_by_job[job].parts += 1
        counts_by_job[job].parts_done += result is not None
        counts_by_job[job].done += problems or 0
    at_work = Copy.objects.filter(
        shard__job__in=counts_by_job, shard__result=None, ended_at=None
    ).select_related("shard")
    # Of each part only the furthest copy counts: the others repeat its work.
    done_by_shard: dict[Shard, int] = {}
    for copy in at_work:
        counts_by_job[copy.shard.job_id].at_work += 1
        done_by_shard[copy.shard] = max(done_by_shard.get(copy.shard, 0), copy.done)
    for shard, done in done_by_shard.items():
        counts_by_job[shard.job_id].done += done
    return counts_by_job


def parts_of(job: Job) -> list[PartProgress]:
    """Return every part of a job with its copies."""
    state_without_copy = "waiting" if job.state == State.RUNNING else "not done"
    copies_by_shard: dict[int, list[Copy]] = {}
    for copy in Copy.objects.filter(shard__job=job).order_by("number"):
        copies_by_shard.setdefault(copy.shard_id, []).append(copy)
    return [
        _part(shard, copies_by_shard.get(shard.pk, []), state_without_copy)
        for shard in job.shards.order_by("part")
    ]


def _part(shard: Shard, copies: list[Copy], state_without_copy: str) -> PartProgress:
    working = any(copy.ended_at is None for copy in copies)
    state = "done" if shard.result_id is not None else "at work" if working else state_without_copy
    problems = (
        shard.tally["problems"]
        if shard.tally
        else max((copy.done for copy in copies if copy.ended_at is None), default=None)
    )
    tries = [
        {
            "copy": copy,
            "where": f"{copy.host}, {_device(copy)}",
            "words": OUTCOME_TEXTS[copy.outcome],
            "bad": copy.outcome in (Outcome.FAILED, Outcome.LOST),
        }
        for copy in copies
    ]
    return PartProgress(shard.part + 1, state, problems, tries)


def _device(copy: Copy) -> str:
    """Return a name such as `GPU 3`, as on the page of the machines."""
    kind, _, index = copy.device.partition(" ")
    return f"{'GPU' if kind == 'cuda' else 'CPU slot'} {index}"


def count_problems(spec: JobSpec, team: Team) -> int | None:
    """Return how many problems the job has; None if that takes reading them."""
    source = spec.problems
    if spec.held_out_share is not None:
        return None
    if not isinstance(source, FileProblems):
        return source.count
    try:
        data_set = locations.data_set(source.path, team)
    except LocationError:
        return None
    if data_set is None:
        return source.limit
    return min(data_set.problem_count, source.limit or data_set.problem_count)
