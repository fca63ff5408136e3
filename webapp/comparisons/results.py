"""The final results of several runs, read in a fixed number of queries.

The runs have been checked for the person who asks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from django.db.models import Q

from webapp.comparisons.run_settings import RunSettings
from webapp.runs import branches
from webapp.runs.models import FINISHED, Checkpoint, Evaluation, Event, Run
from webapp.runs.problem_results import per_problem_of
from webapp.series import series_store
from webapp.series.series_store import LastPoint

HELD_OUT = "eval/pass_rate"
# Series of pass rates whose results by problem are recorded, with the role of their evaluations.
ROLES = {HELD_OUT: "evaluation", "retained/pass_rate": "retained"}


@dataclass(frozen=True)
class ProblemResults:
    """A final evaluation with the pass rate of each problem that was judged."""

    evaluation: Evaluation
    rates: Mapping[str, float]


@dataclass(frozen=True)
class RunResult:
    """A run with its last points by series, and its final results by problem by series.

    `by_problem` lacks what the run did not record. `is_selected`: its results are those of
    a checkpoint that was chosen by its pass rate on held-out problems.
    """

    run: Run
    settings: RunSettings
    last: Mapping[str, LastPoint]
    by_problem: Mapping[str, ProblemResults] = field(default_factory=dict)
    is_selected: bool = False

    @property
    def seed(self) -> int:
        """The seed; for a run without one a number that no other run has."""
        return -self.run.pk if self.settings.seed is None else self.settings.seed


def results_of(runs: Sequence[Run], settings: Mapping[int, RunSettings]) -> list[RunResult]:
    """Return the result of each run, in the order of `runs`."""
    evaluations = _final_evaluations(runs)
    rates = per_problem_of(evaluations.values())
    last = series_store.last_points(runs)
    selected = _selected(evaluations.values())
    return [
        RunResult(
            run,
            settings[run.pk],
            last[run.pk],
            {
                metric: ProblemResults(evaluation, rates[evaluation.pk])
                for metric, role in ROLES.items()
                if (evaluation := evaluations.get((run.pk, role))) and rates[evaluation.pk]
            },
            run.pk in selected,
        )
        for run in runs
    ]


def calibrations_of(runs: Sequence[Run]) -> dict[str, dict[int, dict[str, object]]]:
    """Return the last calibration of each run after training, by readout and primary key."""
    segments = branches.segments_by_run(runs)
    rows = (
        Event.objects.filter(
            run__in=runs, type="calibration", payload__role=ROLES[HELD_OUT], payload__when="after"
        )
        .order_by("attempt", "seq")
        .values_list("run", "attempt", "seq", "step", "payload")
    )
    by_readout: dict[str, dict[int, dict[str, object]]] = {}
    for run, attempt, seq, step, payload in rows:
        if any(segment.contains(attempt, seq, step or 0) for segment in segments[run]):
            by_readout.setdefault(str(payload["readout"]), {})[run] = payload
    return by_readout


def to_evaluate(results: Sequence[RunResult], metric: str) -> list[tuple[Run, int]]:
    """Return ended runs without results by problem of `metric`, and their last checkpoints' steps.

    An evaluation job of that checkpoint gives them such results. Others still record their own.
    """
    if metric != HELD_OUT:
        return []
    runs = [
        result.run
        for result in results
        if metric not in result.by_problem and result.run.spec and result.run.state in FINISHED
    ]
    segments = branches.segments_by_run(runs)
    checkpoints = Checkpoint.objects.filter(run__in=runs).order_by("step")
    # A job takes no checkpoint that a later attempt has abandoned.
    steps = {
        run: step
        for run, attempt, seq, step in checkpoints.values_list("run", "attempt", "seq", "step")
        if any(segment.contains(attempt, seq, step) for segment in segments[run])
    }
    return [(run, steps[run.pk]) for run in runs if run.pk in steps]


def _final_evaluations(runs: Sequence[Run]) -> dict[tuple[int, str], Evaluation]:
    """Return the last final evaluation on the live branch by primary key of the run and role.

    That of a job, on any problems, counts where the run recorded none itself; of several jobs at
    one checkpoint that which ended last.
    """
    segments = branches.segments_by_run(runs)
    rows = Evaluation.objects.filter(
        run__in=runs, role__in=ROLES.values(), when=Evaluation.When.AFTER
    ).select_related("run")
    return {
        (row.run_id, row.role): row
        for row in rows.annotate(is_own=Q(job="")).order_by("is_own", "attempt", "seq", "pk")
        if any(segment.contains(row.attempt, row.seq, row.step) for segment in segments[row.run_id])
    }


def _selected(evaluations: Iterable[Evaluation]) -> set[int]:
    """Return the runs whose evaluation, by a job, is of their best checkpoint, by primary key.

    That checkpoint was chosen by its pass rate on held-out problems. What a run records itself is
    of its last weights.
    """
    of_jobs = [evaluation for evaluation in evaluations if evaluation.job]
    best = set(
        Checkpoint.objects.filter(
            run__in=[evaluation.run_id for evaluation in of_jobs], best=True
        ).values_list("run", "attempt", "seq")
    )
    return {row.run_id for row in of_jobs if (row.run_id, row.attempt, row.seq) in best}
