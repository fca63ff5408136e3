"""Refused settings of runs that train on their evaluation problems: all that reads references."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from trainer.spec.networks import PrivilegedContext
from trainer.spec.rules.networks import Refusal
from trainer.spec.stages import Stage

if TYPE_CHECKING:
    from trainer.spec.run import RunSpec

REASON = "but data.evaluation is cohort, whose references training must not see"


def cohort_refusals(spec: RunSpec) -> Iterator[Refusal]:
    if not spec.data.is_cohort:
        return
    if spec.pool.estimate != "never":
        yield (
            "pool.estimate",
            f"is {spec.pool.estimate}, {REASON}: pass rates need them; choose never",
        )
    if spec.pool.track_problems:
        yield (
            "pool.track_problems",
            f"is {spec.pool.track_problems}, {REASON}; set it to 0, because the evaluation "
            "measures the same problems",
        )
    yield from _contexts(spec)
    for index, stage in enumerate(spec.stages):
        for path, sentence in _stage(stage):
            yield f"stages.{index}.{path}", sentence


def _contexts(spec: RunSpec) -> Iterator[Refusal]:
    teachers = [("networks.teacher", spec.networks.teacher)]
    teachers += [
        (f"networks.specialists.{index}.teacher", specialist.teacher)
        for index, specialist in enumerate(spec.networks.specialists)
    ]
    for path, teacher in teachers:
        # Texts and scores were made before the run, from what their file says.
        context = getattr(teacher, "context", None)
        if isinstance(context, PrivilegedContext):
            yield f"{path}.context.kind", f"is privileged, {REASON}; choose plain"


def _stage(stage: Stage) -> Iterator[Refusal]:
    rollout_filter = stage.rollouts.filter
    if stage.source == "student_rollouts" and rollout_filter.reads_references:
        yield (
            "rollouts.filter.kind",
            f"is {rollout_filter.kind}, {REASON}; choose vote, which takes the most common answer "
            "to be right",
        )
    if stage.uses_solutions:
        path = "source" if stage.source == "solutions" else "pairs.chosen"
        yield path, f"is solutions, {REASON}; choose answers of the student or of a teacher"
