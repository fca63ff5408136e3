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
        yield "networks.student.model", "is also the teacher: two equal networks never differ, so there is nothing to learn; choose two"


def _pool(pool: Pool) -> Iterator[Refusal]:
    count = pool.rollouts_per_problem
    if pool.sampling.temperature == 0 and count > 1:
        yield "pool.sampling.temperature", (
            f"is 0: greedy answers are all the same, so {count} of them say no more than one; raise it or set rollouts_per_problem to 1"
        )
    elif all(_weight_is_zero(pool, passed / count) for passed in range(count + 1)):
        yield "pool.rollouts_per_problem", (
            f"is {count}: every pass rate that so many answers can show has weight 0, so all problems would be dropped; raise it"
        )


def _weight_is_zero(pool: Pool, rate: float) -> bool:
    match pool.weighting:
        case PacedWeights(alpha=alpha, beta=beta, floor=floor):
            return rate**alpha * (1 - rate) ** beta + floor == 0
        case HardFilterWeights(low=low, high=high):
            return not low <= rate <= high
    return False


def _refresh(spec: RunSpec) -> Iterator[Refusal]:
    if spec.pool.refresh == "every" and spec.pool.refresh_every >= spec.total_steps:
        yield "pool.refresh_every", (
            f"is {spec.pool.refresh_every} but the run has {spec.total_steps} steps, so pass rates would never be refreshed; lower it"
        )
    if spec.pool.refresh == "each_stage" and len(spec.stages) == 1:
        yield "pool.refresh", "is each_stage but there is one stage, so pass rates would never be refreshed; choose never or every"


def _evaluation(spec: RunSpec) -> Iterator[Refusal]:
    evaluation = spec.evaluation
    if beyond := [k for k in evaluation.pass_at if k > evaluation.final_samples]:
        yield "evaluation.pass_at", (
            f"asks for pass@{max(beyond)}, which needs at least {max(beyond)} samples; final_samples is {evaluation.final_samples}"
        )
    if evaluation.sampling.temperature == 0 and max(evaluation.samples, evaluation.final_samples) > 1:
        yield "evaluation.sampling.temperature", (
            "is 0: greedy answers are all the same; set samples and final_samples to 1, or raise the temperature"
        )


def _stage_names(spec: RunSpec) -> Iterator[Refusal]:
    names = [stage.name for stage in spec.stages]
    for index, name in enumerate(names):
        if name in names[:index]:
            yield f"stages.{index}.name", f"“{name}” names two stages; give each its own name"


def _stage(stage: Stage) -> Iterator[Refusal]:
    generate = stage.rollouts.generate
    if stage.source == "teacher_written" and generate.per_problem > 1:
        yield "rollouts.generate.per_problem", (
            f"is {generate.per_problem}, but a teacher_written stage trains on one answer to each problem; "
            "set it to 1 or train on student_rollouts"
        )
    elif generate.sampling.temperature == 0 and generate.per_problem > 1:
        yield "rollouts.generate.sampling.temperature", (
            f"is 0: {generate.per_problem} greedy answers to a problem are all the same; raise it or set per_problem to 1"
        )
    if stage.optimiser.warmup_steps > stage.until.steps:
        yield "optimiser.warmup_steps", (
            f"is {stage.optimiser.warmup_steps} but the stage has {stage.until.steps} steps, so the learning rate is never reached"
        )
