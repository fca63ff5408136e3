"""Refused combinations with a teacher whose scores are in a file.

The file has the top tokens of the answers that were scored, with the probability of all others, at
temperature 1. That determines divergences over the top tokens on those answers, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from trainer.spec.objectives.divergence import Divergence, TopLogits
from trainer.spec.scores_teacher import ScoresTeacher
from trainer.spec.token_scores import TOKEN_SCORES
from trainer.spec.tokens import SelectedTokens

if TYPE_CHECKING:
    from trainer.spec.run import RunSpec
    from trainer.spec.stages import Stage

Refusal = tuple[str, str]
KNOWN = "networks.teacher is of kind scores"


def scores_network_refusals(spec: RunSpec) -> Iterator[Refusal]:
    if isinstance(spec.networks.teacher, ScoresTeacher) and spec.pool.measure_snr:
        yield (
            "pool.measure_snr",
            f"is on, which needs the teacher's whole distribution, but {KNOWN}; turn it off or "
            "choose a teacher of kind model",
        )


def scores_stage_refusals(spec: RunSpec, stage: Stage) -> Iterator[Refusal]:
    """Yield the refusals of a stage; paths are relative to it."""
    if not isinstance(spec.networks.teacher, ScoresTeacher):
        return
    if stage.source == "teacher_written":
        yield (
            "source",
            f"is teacher_written, but {KNOWN}, which writes no answers; choose solutions",
        )
    elif stage.uses_teacher_answers:
        yield (
            "pairs.chosen",
            f"is teacher, but {KNOWN}, which writes no answers; choose solutions, or a teacher of "
            "kind model",
        )
    objective, tokens = stage.objective, stage.tokens
    if not stage.compares_with_teacher:
        return
    if stage.source == "student_rollouts":
        yield (
            "source",
            f"is student_rollouts, but {KNOWN}, which knows the answers of its file alone; choose "
            "solutions, or a teacher of kind model or served",
        )
    if isinstance(objective, Divergence):
        yield from _over_top_tokens(objective)
    # Objectives that learn from own answers are refused with solutions already.
    elif objective.answers != "own":
        yield (
            "objective.kind",
            f"is {objective.kind}, but {KNOWN}; choose a divergence over the teacher's top tokens",
        )
    if isinstance(tokens, SelectedTokens) and TOKEN_SCORES[tokens.score].compares_with_teacher:
        yield (
            "tokens.score",
            f"is {tokens.score}, which needs the teacher's whole distribution, but {KNOWN}; choose "
            "entropy or random",
        )


def _over_top_tokens(objective: Divergence) -> Iterator[Refusal]:
    vocabulary = objective.vocabulary
    if objective.temperature != 1:
        yield (
            "objective.temperature",
            f"is {objective.temperature:g}, but {KNOWN}, whose tail is known at temperature 1; set "
            "it to 1",
        )
    if not isinstance(vocabulary, TopLogits):
        yield (
            "objective.vocabulary.kind",
            f"is all, but {KNOWN}, which has the top tokens alone; choose top, with a k of at most "
            "that of the file",
        )
    elif vocabulary.of != "teacher":
        yield (
            "objective.vocabulary.of",
            f"is student, but {KNOWN}, and the student's likeliest tokens may be others; choose "
            "teacher",
        )
