"""Refused settings of stages that learn from preference pairs; paths are relative to the stage."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from trainer.spec.controllers.fixed import FixedControl
from trainer.spec.data import FileProblems
from trainer.spec.filters.verifier import VerifierFilter
from trainer.spec.generators.plain import PlainGenerate
from trainer.spec.networks import TextTeacher
from trainer.spec.replays.none import NoReplay
from trainer.spec.rules.networks import Refusal
from trainer.spec.stages import Stage
from trainer.spec.tokens import AllTokens

if TYPE_CHECKING:
    from trainer.spec.run import RunSpec


def pair_refusals(spec: RunSpec, stage: Stage) -> Iterator[Refusal]:
    learns_from_pairs = stage.objective.answers == "pairs"
    if stage.source != "pairs":
        if learns_from_pairs:
            yield (
                "objective.kind",
                f"is {stage.objective.kind}, which learns from pairs of a chosen and a rejected "
                f"answer, but the source is {stage.source}; choose pairs as source",
            )
        return
    if not learns_from_pairs:
        yield (
            "objective.kind",
            f"is {stage.objective.kind}, which learns from single answers, but the source is "
            "pairs; choose dpo",
        )
    yield from _answers(spec, stage)
    yield from _teacher_sampling(spec, stage)
    yield from _pipeline(stage)
    yield from _means(stage)
    if spec.pool.refresh == "every":
        yield (
            "source",
            "is pairs, which are written and compared with the reference once, before the stage, "
            "but pool.refresh is every, which changes the problems during it; set pool.refresh to "
            "each_stage or never",
        )


def _answers(spec: RunSpec, stage: Stage) -> Iterator[Refusal]:
    pairs, teacher, train = stage.pairs, spec.networks.teacher, spec.data.train
    has_column = isinstance(teacher, TextTeacher) and teacher.rejected is not None
    if pairs.rejected == "column" and not has_column:
        yield (
            "pairs.rejected",
            "is column, but the teacher is no file with a rejected column; choose a teacher of "
            "kind texts and set networks.teacher.rejected, or let the student write the answers",
        )
    if (
        pairs.rejected == "column"
        and isinstance(teacher, TextTeacher)
        and teacher.rejected == teacher.response
    ):
        yield (
            "pairs.rejected",
            f"is column, but networks.teacher.rejected and response are both “{teacher.response}”, "
            "so that both answers of every pair are the same; name two columns",
        )
    if pairs.rejected == "column" and pairs.chosen != "teacher":
        yield (
            "pairs.chosen",
            f"is {pairs.chosen}, but with rejected answers of the teacher's file its rows are the "
            "pairs; set it to teacher",
        )
    if (
        pairs.chosen == "solutions"
        and isinstance(train, FileProblems)
        and train.columns.solution is None
    ):
        yield (
            "pairs.chosen",
            "is solutions, but the training data names no solution column; set "
            "data.train.columns.solution",
        )


def _teacher_sampling(spec: RunSpec, stage: Stage) -> Iterator[Refusal]:
    """Refuse another sampling than that by which the teacher's answers are written, once."""
    first = next((other for other in spec.stages if other.uses_teacher_answers), stage)
    if stage.uses_teacher_answers and (
        first.rollouts.generate.sampling != stage.rollouts.generate.sampling
    ):
        yield (
            "rollouts.generate.sampling",
            f"differs from that of stage {first.name}, for which the teacher's answers are "
            "written, once for all stages; use the same in both",
        )


def _pipeline(stage: Stage) -> Iterator[Refusal]:
    """Refuse mechanisms of rollouts: pairs are written before the stage, not in its steps."""
    rollouts = stage.rollouts
    plain = {
        "generate": PlainGenerate().kind,
        "filter": VerifierFilter().kind,
        "control": FixedControl().kind,
        "replay": NoReplay().kind,
    }
    for role, kind in plain.items():
        chosen = getattr(rollouts, role)
        if chosen.kind != kind:
            yield (
                f"rollouts.{role}.kind",
                f"is {chosen.kind}, which acts on answers that are sampled in each step, but pairs "
                f"are written before the stage; choose {kind}",
            )
    if not isinstance(stage.tokens, AllTokens):
        yield (
            "tokens.kind",
            f"is {stage.tokens.kind}, but {stage.objective.kind} compares whole answers; choose "
            "all",
        )


def _means(stage: Stage) -> Iterator[Refusal]:
    if stage.reduction != "sequence_mean":
        yield (
            "reduction",
            f"is {stage.reduction}, but the loss of pairs sums over the tokens of an answer and is "
            "a mean over pairs; set it to sequence_mean",
        )
    if stage.renormalise_by_kept:
        yield (
            "renormalise_by_kept",
            "is on, but every pair that is left counts in the mean; turn it off",
        )
