"""Refused combinations of shapers, with each other and with their stage."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from trainer.spec.networks import EndpointTeacher, TextTeacher
from trainer.spec.objectives.objective import TEACHER_NEEDS, Need, Write
from trainer.spec.rules.networks import Refusal
from trainer.spec.shapers.shaper import Shaper
from trainer.spec.stages import Stage

if TYPE_CHECKING:
    from trainer.spec.run import RunSpec


def shaper_refusals(spec: RunSpec, stage: Stage) -> Iterator[Refusal]:
    for shaper in stage.shapers.chosen:
        yield from _objective(stage, shaper)
        yield from _needs(spec, stage, shaper)
    yield from _writes(stage)


def _path(shaper: Shaper) -> str:
    return f"shapers.{shaper.kind}"


def _objective(stage: Stage, shaper: Shaper) -> Iterator[Refusal]:
    objective = stage.objective
    if (
        Write.ADVANTAGES in shaper.writes
        and shaper.per_token
        and getattr(objective, "ratio", "") == "sequence"
    ):
        yield (
            "objective.ratio",
            f"is sequence, one ratio for a whole answer, but the shaper {shaper.kind} gives each "
            "token its own advantage; choose sequence_token or token",
        )
    unused = [write for write in shaper.writes if write not in objective.shaped_by]
    if unused:
        yield (
            _path(shaper),
            f"is {shaper.kind}, which changes {_words(unused)}, but {objective.kind} does not "
            f"learn by that; remove it or choose grpo as objective",
        )


def _needs(spec: RunSpec, stage: Stage, shaper: Shaper) -> Iterator[Refusal]:
    teacher = spec.networks.teacher
    if shaper.requirements & TEACHER_NEEDS and isinstance(teacher, TextTeacher | EndpointTeacher):
        yield (
            _path(shaper),
            f"is {shaper.kind}, which needs the teacher's probabilities, but a teacher of kind "
            f"{teacher.kind} gives texts only; remove it, or choose a teacher of kind model",
        )
    if stage.source != "student_rollouts" and Need.OLD_LOGPROB in shaper.requirements:
        yield (
            _path(shaper),
            f"is {shaper.kind}, which needs answers that the student has sampled, but source is "
            f"{stage.source}; remove it or choose student_rollouts",
        )
    count = stage.rollouts.generate.per_problem
    if Need.GROUP_VERDICTS in shaper.requirements and count < 2:
        yield (
            "rollouts.generate.per_problem",
            f"is 1, but the shaper {shaper.kind} compares the answers to a problem with each "
            "other; raise it to 4 or more",
        )


def _writes(stage: Stage) -> Iterator[Refusal]:
    """Refuse the later of two shapers that set the same; those that add or multiply compose."""
    setters: dict[Write, Shaper] = {}
    for shaper in stage.shapers.chosen:
        for write, how in shaper.writes.items():
            if how == "sets" and setters.setdefault(write, shaper) is not shaper:
                yield (
                    _path(shaper),
                    f"is {shaper.kind}, which sets {_words([write])}, as {setters[write].kind} "
                    "does: one would undo the other; remove one of them",
                )


def _words(writes: list[Write]) -> str:
    return " and ".join(write.replace("_", " ") for write in writes)
