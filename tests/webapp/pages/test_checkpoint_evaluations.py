"""An evaluation job of a checkpoint counts as an evaluation of the run that wrote it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from tests.webapp.compared import compared
from tests.webapp.pages.test_jobs import answered, line
from tests.webapp.recorded import recorded
from trainer.spec import ArithmeticProblems
from trainer.spec.jobs import JobSpec
from trainer.text.problems import load_source
from webapp.access.models import Team, User
from webapp.comparisons.results import HELD_OUT, RunResult, results_of, to_evaluate
from webapp.comparisons.run_settings import settings_of
from webapp.jobs import checkpoint_evaluations, lifecycle
from webapp.jobs.models import Job, State
from webapp.library import artifacts
from webapp.runs import kept_answers, problem_results
from webapp.runs.models import Attempt, Checkpoint, Evaluation, Event, Run
from workers.shards.placement import complete_job

pytestmark = pytest.mark.django_db


@pytest.fixture
def run(still: Team, alice: User, tmp_path: Path) -> Run:
    return recorded(still, alice, tmp_path)


def job_of(run: Run, kind: str = "evaluation", step: int = 30, **changes: Any) -> Job:
    spec = JobSpec.model_validate(
        {
            "work": {"kind": kind},
            "model": {"kind": "checkpoint", "checkpoint": f"checkpoint:{run.public_id}@{step}"},
            "problems": {"kind": "arithmetic", "count": 4},
            "sampling": {"temperature": 0.5, "max_new_tokens": 32},
            **changes,
        }
    )
    job = lifecycle.create_job(run.team, run.owner, spec, 4, 1)
    answered(job, [line(1, [True, False]), line(2, [True, None]), line(3, [None, None])])
    return job


def own_evaluations() -> set[int]:
    return set(Evaluation.objects.filter(job="").values_list("pk", flat=True))


def test_the_results_of_a_job_can_be_compared_problem_by_problem(run: Run) -> None:
    before, job = own_evaluations(), job_of(run)
    assert complete_job(job.pk)
    evaluation = Evaluation.objects.exclude(job="").get()
    assert (evaluation.run, evaluation.step, evaluation.when) == (run, 30, "after")
    assert evaluation.job == job.public_id
    problems = load_source(ArithmeticProblems(count=4))
    assert evaluation.set_fingerprint == problems.fingerprint
    assert evaluation.conditions["answer_limit"] == 32
    assert evaluation.conditions["sampling"]["temperature"] == 0.5
    assert problem_results.per_problem(evaluation) == {"p1": 0.5, "p2": 1.0}
    [first, second] = kept_answers.answers_to(evaluation, "p1")
    assert (first.text, first.verdict, second.sample, second.verdict) == ("1+1=2", True, 1, False)
    # Recorded again, it stays one; another job at the same checkpoint has results of its own.
    checkpoint_evaluations.record(job)
    newer = job_of(run, sampling={"temperature": 1.0})
    complete_job(newer.pk)
    recorded_jobs = Evaluation.objects.exclude(job="").order_by("pk").values_list("job", flat=True)
    assert list(recorded_jobs) == [job.public_id, newer.public_id]
    assert own_evaluations() == before


def test_of_several_jobs_the_last_one_counts_in_a_comparison(run: Run) -> None:
    Evaluation.objects.all().delete()
    # Both jobs are created, and then complete in the opposite order.
    first, second = job_of(run), job_of(run, sampling={"temperature": 1.0})
    for job in (second, first):
        complete_job(job.pk)
    result = results_of([run], {run.pk: settings_of(run, None)})[0]
    assert result.by_problem[HELD_OUT].evaluation.job == first.public_id


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "pass_rates"},
        {"step": 31},
        {"model": {"kind": "model", "model": "builtin:student"}},
    ],
)
def test_other_jobs_evaluate_no_run(run: Run, changes: dict[str, Any]) -> None:
    job = job_of(run, **changes)
    assert complete_job(job.pk)
    job.refresh_from_db()
    assert job.state == State.COMPLETED
    assert not Evaluation.objects.exclude(job="").exists()


def test_a_job_completes_though_its_results_cannot_be_read_again(run: Run) -> None:
    """Otherwise each sweep of each machine would end at this job."""
    job = job_of(run)
    for sha256 in job.shards.exclude(result=None).values_list("result__sha256", flat=True):
        artifacts.local_path(sha256).unlink()
    assert complete_job(job.pk)
    job.refresh_from_db()
    assert job.state == State.COMPLETED
    assert not Evaluation.objects.exclude(job="").exists()


def test_a_checkpoint_of_an_abandoned_tail_is_not_the_last_one(run: Run) -> None:
    last = run.checkpoints.get(step=30)
    Checkpoint.objects.create(
        run=run,
        attempt=1,
        seq=last.seq + 1,
        step=50,
        folder="step-50",
        size=1,
        manifest={},
        created_at=last.created_at,
    )
    assert to_evaluate([RunResult(run, settings_of(run, None), {})], HELD_OUT) == [(run, 50)]
    Attempt.objects.create(run=run, number=2, last_seq=1, step=30)
    Event.objects.create(
        run=run,
        attempt=2,
        seq=1,
        type="rewind",
        step=30,
        wall_time=last.created_at,
        payload={},
        batch_number=run.batch_count,
    )
    assert to_evaluate([RunResult(run, settings_of(run, None), {})], HELD_OUT) == [(run, 30)]
    run.state = "running"
    assert to_evaluate([RunResult(run, settings_of(run, None), {})], HELD_OUT) == []
    assert complete_job(job_of(run).pk)
    assert Evaluation.objects.exclude(job="").get().when == "after"


def test_results_of_a_checkpoint_that_was_selected_are_marked_in_a_comparison(
    run: Run, still: Team, alice: User, client: Client, tmp_path: Path
) -> None:
    client.force_login(alice)
    other = compared(still, alice, tmp_path / "other", [4] * 30)
    address = f"/compare/?by=runs&runs={other.public_id},{run.public_id}"
    selected = f"selected on held-out problems, so that they may be too high: {run.name}"
    assert selected not in client.get(address).content.decode()
    complete_job(job_of(run).pk)
    assert selected in client.get(address).content.decode()
