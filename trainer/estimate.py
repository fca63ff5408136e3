"""Upper bounds of the tokens that a run writes, from its definition and the number of its problems
alone. Imports without torch.

Every answer is taken to be as long as it may be; nothing is known of how long answers will be.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from trainer.spec import RunSpec, Stage


@dataclass(frozen=True)
class ProblemCounts:
    """Problems of each role, after limits and the held-out share."""

    train: int
    held_out: int
    retained: int = 0


def max_written_tokens(spec: RunSpec, counts: ProblemCounts) -> int:
    """Tokens that student and teacher write at most: pass rates, stages, evaluations."""
    return sum(_tokens(spec, counts))


def planned_answers(stage: Stage) -> int:
    """Answers that the stage's steps use."""
    return stage.until.steps * stage.problems_per_step * stage.rollouts.generate.per_problem


def _tokens(spec: RunSpec, counts: ProblemCounts) -> Iterator[int]:
    pool, evaluation = spec.pool, spec.evaluation
    if pool.estimate == "before":
        yield (
            (1 + _refreshes(spec))
            * counts.train
            * pool.rollouts_per_problem
            * pool.sampling.max_new_tokens
        )
    for stage in spec.stages:
        planned = planned_answers(stage)
        answers = {
            "teacher_written": min(counts.train, planned),
            "solutions": 0,
            "student_rollouts": planned,
        }[stage.source]
        yield answers * stage.rollouts.generate.sampling.max_new_tokens
    during = (spec.total_steps - 1) // evaluation.every if evaluation.every else 0
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


def _refreshes(spec: RunSpec) -> int:
    if spec.pool.refresh == "each_stage":
        return len(spec.stages) - 1
    return (spec.total_steps - 1) // spec.pool.refresh_every if spec.pool.refresh == "every" else 0
