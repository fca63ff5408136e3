"""Combinations of valid settings that are refused, each with the reason and the remedy.

A combination is refused only if it cannot work; an unusual one is accepted.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from trainer.spec.objectives.divergence import Divergence
from trainer.spec.pool import Pool
from trainer.spec.rules.cohorts import cohort_refusals
from trainer.spec.rules.networks import Refusal, network_refusals
from trainer.spec.rules.stages import stage_refusals

if TYPE_CHECKING:
    from trainer.spec.run import RunSpec


def incompatible_settings(spec: RunSpec) -> list[Refusal]:
    """Return all refusals of a definition as (field path, sentence)."""
    refusals = [
        *network_refusals(spec),
        *_pool(spec.pool),
        *_snr(spec),
        *_refresh(spec),
        *_evaluation(spec),
        *_stage_names(spec),
        *cohort_refusals(spec),
    ]
    for index, stage in enumerate(spec.stages):
        refusals += [
            (f"stages.{index}.{path}", sentence) for path, sentence in stage_refusals(spec, stage)
        ]
    return refusals


def _pool(pool: Pool) -> Iterator[Refusal]:
    if pool.estimate == "never":
        yield from _no_estimate(pool)
        return
    count = pool.rollouts_per_problem
    if pool.sampling.temperature == 0 and count > 1:
        yield (
            "pool.sampling.temperature",
            f"is 0: greedy answers are all the same, so {count} say no more than one; raise it or "
            f"set rollouts_per_problem to 1",
        )
    # With one answer a pass rate is 0 or 1, and p(1 − p) is 0 at both.
    elif all(pool.weighting.weight(passed / count) == 0 for passed in range(count + 1)):
        yield (
            "pool.rollouts_per_problem",
            f"is {count}: every pass rate that so many answers can show has weight 0, so all "
            f"problems would be dropped; raise it",
        )


def _no_estimate(pool: Pool) -> Iterator[Refusal]:
    if pool.weighting.uses_pass_rates:
        yield (
            "pool.estimate",
            f"is never, but {pool.weighting.kind} weights need pass rates; choose before, or "
            f"uniform weights",
        )
    if pool.refresh != "never" or pool.measure_snr:
        yield (
            "pool.estimate",
            "is never, but pool.refresh or pool.measure_snr needs pass rates; choose before",
        )


def _snr(spec: RunSpec) -> Iterator[Refusal]:
    objective = spec.stages[0].objective
    if spec.pool.measure_snr and not isinstance(objective, Divergence):
        yield (
            "pool.measure_snr",
            f"is on, but it is the gradient of a divergence that is measured, and the first stage "
            f"has {objective.kind}; turn it off",
        )


def _refresh(spec: RunSpec) -> Iterator[Refusal]:
    pool = spec.pool
    if pool.refresh == "every" and pool.refresh_every >= spec.total_steps:
        yield (
            "pool.refresh_every",
            f"is {pool.refresh_every} but the run has {spec.total_steps} steps, so pass rates are "
            f"never refreshed; lower it",
        )
    if pool.refresh == "each_stage" and len(spec.stages) == 1:
        yield (
            "pool.refresh",
            "is each_stage but there is one stage, so pass rates are never refreshed; choose "
            "never or every",
        )


def _evaluation(spec: RunSpec) -> Iterator[Refusal]:
    evaluation = spec.evaluation
    most = max(evaluation.pass_at, default=0)
    if most > evaluation.final_samples:
        yield (
            "evaluation.pass_at",
            f"asks for pass@{most}, which needs {most} samples; final_samples is "
            f"{evaluation.final_samples}",
        )
    if (
        evaluation.sampling.temperature == 0
        and max(evaluation.samples, evaluation.final_samples) > 1
    ):
        yield (
            "evaluation.sampling.temperature",
            "is 0: greedy answers are all the same; set samples and final_samples to 1, or raise "
            "the temperature",
        )


def _stage_names(spec: RunSpec) -> Iterator[Refusal]:
    names = [stage.name for stage in spec.stages]
    for index, name in enumerate(names):
        if name in names[:index]:
            yield f"stages.{index}.name", f"“{name}” names two stages; give each its own name"
