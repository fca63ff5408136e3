"""Where the answers of one column come from: a run's rollouts of a training step, or an evaluation.

The runs have been checked for the person who asks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from django.db.models import Max, Min, Q, QuerySet

from webapp.runs import branches
from webapp.runs.models import Evaluation, RolloutRow, Run
from webapp.runs.problem_texts import problem_sets

MOST_COLUMNS = 4
Kind = Literal["train", "evaluation", "retained", "job"]
# What each kind is called; `job` is an evaluation job of a checkpoint.
KINDS: dict[Kind, str] = {
    "train": "training",
    "evaluation": "evaluation",
    "retained": "retained skill",
    "job": "evaluation job",
}
EVALUATION = "evaluation"


@dataclass(frozen=True)
class ChosenColumn:
    """A column as it is in the address. `step` None: the last one that has answers."""

    run: str
    kind: Kind
    step: int | None


@dataclass(frozen=True)
class AnswerSource:
    """The answers of a run at a step.

    `evaluation` is None for training, and where a run of an earlier version recorded only rollouts
    of its evaluation. `fingerprint` is that of the set of problems, empty if unknown. `log_event`
    is the (attempt, seq) of the rollouts of an evaluation, None if none were recorded.
    """

    run: Run
    kind: Kind
    step: int
    live: Q
    evaluation: Evaluation | None = None
    fingerprint: str = ""
    log_event: tuple[int, int] | None = None

    @property
    def title(self) -> str:
        if self.kind == "train":
            return f"Step {self.step:,}"
        when = self.evaluation.when if self.evaluation and self.kind != "job" else ""
        name = {"before": "Before training", "after": "After training"}.get(when)
        return f"{name or KINDS[self.kind].capitalize()}, step {self.step:,}"

    @property
    def rollouts(self) -> QuerySet[RolloutRow]:
        """The recorded rollouts."""
        if self.kind == "train":
            return _rollouts(self.run, "train", self.live).filter(step=self.step)
        if self.log_event is None:
            return self.run.rollouts.none()
        attempt, seq = self.log_event
        return self.run.rollouts.filter(attempt=attempt, seq=seq)


@dataclass(frozen=True)
class NoAnswers:
    """A column that cannot be filled; the message says why. `run` is None if nobody may see it."""

    message: str
    run: Run | None = None


def kind_of(text: str) -> Kind:
    """Return the kind of that name; `train` for any other text."""
    return next((kind for kind in get_args(Kind) if kind == text), "train")


def find_sources(
    columns: Sequence[ChosenColumn], runs: Mapping[str, Run]
) -> list[AnswerSource | NoAnswers]:
    """Return the source of each column; `runs` are those that the person may see, by public id."""
    live = {run.pk: branches.on_live_branch(run) for run in runs.values()}
    fingerprints = {
        run.pk: {entry["role"]: str(entry.get("fingerprint") or "") for entry in problem_sets(run)}
        for run in runs.values()
    }
    return [
        _find(column, run, live[run.pk], fingerprints[run.pk])
        if (run := runs.get(column.run))
        else NoAnswers("This run does not exist, was deleted, or is not shared with you.")
        for column in columns
    ]


def neighbour_steps(
    run: Run, kind: Kind, step: int, live: Q, problem: str | None = None
) -> tuple[int | None, int | None]:
    """Return the step before and the one after that have answers, None at an end.

    With `problem` those of training that have answers to it.
    """
    rollouts = _rollouts(run, kind, live)
    if problem is not None and kind == "train":
        rollouts = rollouts.filter(problem=problem)
    edges = [
        (
            rows.filter(step__lt=step).aggregate(edge=Max("step"))["edge"],
            rows.filter(step__gt=step).aggregate(edge=Min("step"))["edge"],
        )
        for rows in (rollouts, _evaluations(run, kind, live))
        if rows is not None
    ]
    before = [low for low, _ in edges if low is not None]
    after = [high for _, high in edges if high is not None]
    return max(before, default=None), min(after, default=None)


def kinds_of(runs: Iterable[Run]) -> list[Kind]:
    """Return the kinds to choose from: those that runs of the page have, and the usual ones."""
    evaluations = Evaluation.objects.filter(run__in=list(runs))
    has = evaluations.aggregate(
        retained=Max("pk", filter=Q(role="retained")), job=Max("pk", filter=~Q(job=""))
    )
    return [kind for kind in KINDS if kind in ("train", "evaluation") or has[kind] is not None]


def _find(
    column: ChosenColumn, run: Run, live: Q, fingerprints: Mapping[str, str]
) -> AnswerSource | NoAnswers:
    evaluations, rollouts = _evaluations(run, column.kind, live), _rollouts(run, column.kind, live)
    step = column.step
    if step is None:
        lasts = [rows.aggregate(step=Max("step"))["step"] for rows in (evaluations, rollouts)]
        step = max((last for last in lasts if last is not None), default=None)
        if step is None:
            return NoAnswers(f"This run has no answers stored of {_named(column.kind)}.", run)
    if column.kind == "train":
        if not rollouts.filter(step=step).exists():
            return NoAnswers(_nothing_at(step, run, column.kind, live), run)
        return AnswerSource(run, "train", step, live, fingerprint=fingerprints.get("train", ""))
    evaluation = evaluations.filter(step=step).order_by("attempt", "seq").last()
    recorded = rollouts.filter(step=step)
    if evaluation is None:
        event = recorded.order_by("attempt", "seq").values_list("attempt", "seq").last()
        if event is None:
            return NoAnswers(_nothing_at(step, run, column.kind, live), run)
        return AnswerSource(
            run, column.kind, step, live, None, fingerprints.get(EVALUATION, ""), event
        )
    # The trainer writes the rollouts of an evaluation behind its results.
    seq = recorded.filter(attempt=evaluation.attempt, seq__gt=evaluation.seq).aggregate(
        seq=Min("seq")
    )["seq"]
    return AnswerSource(
        run,
        column.kind,
        step,
        live,
        evaluation,
        evaluation.set_fingerprint,
        None if seq is None else (evaluation.attempt, seq),
    )


def _rollouts(run: Run, kind: Kind, live: Q) -> QuerySet[RolloutRow]:
    """Recorded rollouts of a kind: only training and evaluations of held-out problems have them."""
    rows = run.rollouts.filter(live)
    if kind == "train":
        return rows.exclude(role=EVALUATION)
    return rows.filter(role=EVALUATION) if kind == "evaluation" else rows.none()


def _evaluations(run: Run, kind: Kind, live: Q) -> QuerySet[Evaluation]:
    rows = run.evaluations.filter(live).select_related("run")
    if kind == "train":
        return rows.none()
    if kind == "job":
        return rows.exclude(job="")
    return rows.filter(role=kind, job="")


def _nothing_at(step: int, run: Run, kind: Kind, live: Q) -> str:
    near = [near for near in neighbour_steps(run, kind, step, live) if near is not None]
    if not near:
        return f"This run has no answers stored of {_named(kind)}."
    steps = " and ".join(f"{number:,}" for number in near)
    return f"No answers of {_named(kind)} are stored at step {step:,}. The nearest: step {steps}."


def _named(kind: Kind) -> str:
    return {
        "train": "training",
        "evaluation": "an evaluation",
        "retained": "an evaluation of the retained skill",
        "job": "an evaluation job",
    }[kind]
