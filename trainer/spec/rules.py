"""Combinations of valid settings that make no sense together, each with the reason and the remedy.

A combination is refused only if it cannot do what was asked; one that is merely unusual is left to whoever asked for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from trainer.spec.pool import HardFilterWeights, PacedWeights, Pool
from trainer.spec.stages import Stage

if TYPE_CHECKING:
    from trainer.spec.run import RunSpec

Refusal = tuple[str, str]


def nonsense(spec: RunSpec) -> list[Refusal]:
    """All refusals of a spec as (field path, sentence)."""
    refusals = [*_networks(spec), *_pool(spec.pool), *_refresh(spec), *_evaluation(spec), *_stage_names(spec)]
    for index, stage in enumerate(spec.stages):
        refusals += [(f"stages.{index}.{path}", sentence) for path, sentence in _stage(stage)]
    return refusals


def _networks(spec: RunSpec) -> Iterator[Refusal]:
    student, teacher = spec.networks.student, spec.networks.teacher
    if student.model == teacher.model and student.random_init == teacher.random_init:
        yield "networks.student.model", "is the teacher too: equal networks never differ, so there is nothing to learn; choose another"


def _pool(pool: Pool) -> Iterator[Refusal]:
    count = pool.rollouts_per_problem
    if pool.sampling.temperature == 0 and count > 1:
        reason = f"is 0: greedy answers are all the same, so {count} say no more than one; raise it or set rollouts_per_problem to 1"
        yield "pool.sampling.temperature", reason
    elif all(_weight_is_zero(pool, passed / count) for passed in range(count + 1)):
        reason = f"is {count}: every pass rate that so many answers can show has weight 0, so all problems would be dropped; raise it"
        yield "pool.rollouts_per_problem", reason


def _weight_is_zero(pool: Pool, rate: float) -> bool:
    match pool.weighting:
        case PacedWeights(alpha=alpha, beta=beta, floor=floor):
            return rate**alpha * (1 - rate) ** beta + floor == 0
        case HardFilterWeights(low=low, high=high):
            return not low <= rate <= high
    return False


def _refresh(spec: RunSpec) -> Iterator[Refusal]:
    pool = spec.pool
    if pool.refresh == "every" and pool.refresh_every >= spec.total_steps:
        reason = f"is {pool.refresh_every} but the run has {spec.total_steps} steps, so pass rates are never refreshed; lower it"
        yield "pool.refresh_every", reason
    if pool.refresh == "each_stage" and len(spec.stages) == 1:
        yield "pool.refresh", "is each_stage but there is one stage, so pass rates are never refreshed; choose never or every"


def _evaluation(spec: RunSpec) -> Iterator[Refusal]:
    evaluation = spec.evaluation
    most = max(evaluation.pass_at, default=0)
    if most > evaluation.final_samples:
        yield "evaluation.pass_at", f"asks for pass@{most}, which needs {most} samples; final_samples is {evaluation.final_samples}"
    if evaluation.sampling.temperature == 0 and max(evaluation.samples, evaluation.final_samples) > 1:
        reason = "is 0: greedy answers are all the same; set samples and final_samples to 1, or raise the temperature"
        yield "evaluation.sampling.temperature", reason


def _stage_names(spec: RunSpec) -> Iterator[Refusal]:
    names = [stage.name for stage in spec.stages]
    for index, name in enumerate(names):
        if name in names[:index]:
            yield f"stages.{index}.name", f"“{name}” names two stages; give each its own name"


def _stage(stage: Stage) -> Iterator[Refusal]:
    generate = stage.rollouts.generate
    count = generate.per_problem
    if stage.source == "teacher_written" and count > 1:
        reason = f"is {count}, but a teacher_written stage trains on one answer to each problem; set it to 1 or choose student_rollouts"
        yield "rollouts.generate.per_problem", reason
    elif generate.sampling.temperature == 0 and count > 1:
        reason = f"is 0: {count} greedy answers to a problem are all the same; raise it or set per_problem to 1"
        yield "rollouts.generate.sampling.temperature", reason
    if stage.optimiser.warmup_steps > stage.until.steps:
        reason = f"is {stage.optimiser.warmup_steps} but the stage has {stage.until.steps} steps: the learning rate is never reached"
        yield "optimiser.warmup_steps", reason
