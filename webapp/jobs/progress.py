"""How far a job is, and who works on it, in words."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass
from typing import Any

from trainer.spec import FileProblems
from trainer.spec.jobs import JobSpec, load_job
from webapp.access.models import Team
from webapp.jobs.models import Copy, Job, Outcome, Shard, State
from webapp.library import locations
from webapp.library.locations import LocationError

WORDS = {
    "": "at work",
    Outcome.WON: "answered",
    Outcome.LATE: "another was quicker",
    Outcome.FAILED: "failed",
    Outcome.LOST: "lost",
    Outcome.STOPPED: "stopped",
}


@dataclass
class Counts:
    """Problems that are answered, parts that are done and that there are, and copies of parts that
    are at work.
    """

    done: int = 0
    parts_done: int = 0
    parts: int = 0
    at_work: int = 0


@dataclass
class Progress(Counts):
    """`of` is how many problems there are, None where nobody knows yet. `waits` if none of the
    parts that are left has a device.
    """

    of: int | None = None
    waits: bool = False

    @property
    def words(self) -> str:
        if self.parts_done == self.parts:
            return f"{self.done:,} problems"
        known = f" of {self.of:,}" if self.of else ""
        waiting = ", waiting for a free device" if self.waits else ""
        return (
            f"{self.done:,}{known} problems, {self.parts_done} of {self.parts} parts done{waiting}"
        )


@dataclass(frozen=True)
class Part:
    number: int
    state: str
    problems: int | None
    tries: list[dict[str, Any]]


def progress_of(job: Job) -> Progress:
    return progress_by_job([job])[job.pk]


def progress_by_job(jobs: Collection[Job]) -> dict[int, Progress]:
    """By the job's key."""
    found = counts(jobs)
    return {
        job.pk: Progress(
            **asdict(found[job.pk]),
            of=count_problems(load_job(job.spec), job.team),
            waits=job.state == State.RUNNING and not found[job.pk].at_work,
        )
        for job in jobs
    }


def counts(jobs: Collection[Job]) -> dict[int, Counts]:
    """By the job's key, in two queries for any number of jobs."""
    found = {job.pk: Counts() for job in jobs}
    for job, result, problems in Shard.objects.filter(job__in=found).values_list(
        "job", "result", "tally__problems"
    ):
        found[job].parts += 1
        found[job].parts_done += result is not None
        found[job].done += problems or 0
    at_work = Copy.objects.filter(
        shard__job__in=found, shard__result=None, ended_at=None
    ).select_related("shard")
    for copy in at_work:
        found[copy.shard.job_id].at_work += 1
    for shard, done in _furthest(at_work).items():
        found[shard.job_id].done += done
    return found


def parts_of(job: Job) -> list[Part]:
    """Every part with those who tried it."""
    left = "waiting" if job.state == State.RUNNING else "not done"
    tried: dict[int, list[Copy]] = {}
    for copy in Copy.objects.filter(shard__job=job).order_by("number"):
        tried.setdefault(copy.shard_id, []).append(copy)
    return [_part(shard, tried.get(shard.pk, []), left) for shard in job.shards.order_by("part")]


def _part(shard: Shard, tried: list[Copy], left: str) -> Part:
    working = any(copy.ended_at is None for copy in tried)
    state = "done" if shard.result_id is not None else "at work" if working else left
    found = (
        shard.tally["problems"]
        if shard.tally
        else max((copy.done for copy in tried if copy.ended_at is None), default=None)
    )
    tries = [
        {
            "copy": copy,
            "where": f"{copy.host}, {_device(copy)}",
            "words": WORDS[copy.outcome],
            "bad": copy.outcome in (Outcome.FAILED, Outcome.LOST),
        }
        for copy in tried
    ]
    return Part(shard.part + 1, state, found, tries)


def _device(copy: Copy) -> str:
    """`GPU 3`, as the page of the machines calls it."""
    kind, _, index = copy.device.partition(" ")
    return f"{'GPU' if kind == 'cuda' else 'CPU slot'} {index}"


def _furthest(at_work: Iterable[Copy]) -> dict[Shard, int]:
    """Of the copies of one part, only the furthest counts."""
    found: dict[Shard, int] = {}
    for copy in at_work:
        found[copy.shard] = max(found.get(copy.shard, 0), copy.done)
    return found


def count_problems(spec: JobSpec, team: Team) -> int | None:
    """How many problems the job has, if that can be told without reading them."""
    source = spec.problems
    if not isinstance(source, FileProblems):
        return source.count
    try:
        found = locations.data_set(source.path, team)
    except LocationError:
        return None
    return min(found.problem_count, source.limit or found.problem_count) if found else source.limit
