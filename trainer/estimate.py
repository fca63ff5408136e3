"""An upper bound of the tokens that a run writes, from its definition and problem counts.

Every answer is taken to have the allowed length, because the real lengths are not known before the
run. Imports without torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from trainer.spec import RunSpec, Stage


@dataclass(frozen=True)
class ProblemCounts:
    """The number of problems of each role, after limits and the held-out share."""

    train: int
    held_out: int
    retained: int = 0


def max_written_tokens(spec: RunSpec, counts: ProblemCounts) -> int:
    """Return the most tokens that student and teacher write: pass rates, stages, evaluations."""
    return sum(_tokens(spec, counts))


def planned_answers(stage: Stage) -> int:
    """Return how many answers the stage's steps may use."""
    rollouts = stage.rollouts
    per_problem = (
        rollouts.control.answers_at_most(rollouts.generate.per_problem)
        if stage.source == "student_rollouts"
        else rollouts.generate.per_problem
    )
    return stage.until.steps * stage.problems_per_step * per_problem


def _tokens(spec: RunSpec, counts: ProblemCounts) -> Iterator[int]:
    pool, evaluation = spec.pool, spec.evaluation
    if pool.estimate == "before":
        # Nothing is refreshed at the last step, after which there is no training.
        refreshes = {
            "never": 0,
            "each_stage": len(spec.stages) - 1,
            "every": (spec.total_steps - 1) // pool.refresh_every,
        }[pool.refresh]
        yield (
            (1 + refreshes)
            * counts.train
            * pool.rollouts_per_problem
            * pool.sampling.max_new_tokens
        )
    for stage in spec.stages:
        planned = planned_answers(stage)
        # The teacher writes each problem of the pool once, however often its answer is trained on.
        answers = {
            "teacher_written": min(counts.train, planned),
            "solutions": 0,
            "student_rollouts": planned,
        }[stage.source]
        yield answers * stage.rollouts.generate.sampling.max_new_tokens
    # The evaluation after the last step is the final one, which counts below.
    during = (spec.total_steps - 1) // evaluation.every if evaluation.every else 0
    # Twice: before and after the run. The retained skill is evaluated only then.
    answers = 2 * evaluation.final_samples * (counts.held_out + counts.retained)
    answers += (
        during * evaluation.samples * min(counts.held_out, evaluation.problems or counts.held_out)
    )
    yield answers * evaluation.sampling.max_new_tokens
    yield (
        during
        * min(counts.train, pool.track_problems)
        * pool.rollouts_per_problem
        * pool.sampling.max_new_tokens
    )
