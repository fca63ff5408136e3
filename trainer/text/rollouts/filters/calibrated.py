"""Calibration-aware target replacement as a filter (CaOPD, arXiv 2604.16830, equations 6 and 7).

    μ̂(x) = passed / judged answers to problem x in this round
    ỹ = (reasoning of y, statement of μ̂, end token)

The student learns ỹ instead of y, and the teacher reads ỹ after a context in which every confidence
is μ̂. The tokens of ỹ are trained by:

    reasoning      divergence to the teacher
    statement      divergence to the teacher or cross-entropy (`one_hot`), coefficient `weight`
    what follows   cross-entropy

There is never a divergence after the statement: a teacher that has only seen its own certainty
cannot continue after `0.38`, and a student that follows it there forgets how to end (measured: pass
rate .40 → .04 within seconds). A truncated answer has no statement yet, so it stays as it is; it
counts as a failure in μ̂. A problem without any verdict has no μ̂: its answers are dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from trainer.spec import CalibratedFilter, StatedConfidence
from trainer.text.calibration.codec import Codec
from trainer.text.calibration.tokens import confidence_tokens, require_space, with_confidence
from trainer.text.language.tokenizers import decode
from trainer.text.rollouts.filters.filter_parts import FilterParts
from trainer.text.rollouts.filters.verifier import VerdictFilter, plain_row
from trainer.text.rollouts.questions import Answer
from trainer.text.rollouts.records import (
    CROSS_ENTROPY,
    DIVERGENCE,
    DroppedAnswer,
    Group,
    Prompt,
    TrainRow,
    Trajectory,
)
from trainer.text.rollouts.teacher_prompts import TeacherPrompts

NO_VERDICT = "no verdict"


def build(settings: CalibratedFilter, parts: FilterParts) -> ConfidenceFilter:
    """Raises ModelError if a stated confidence does not fit the longest answer."""
    assert isinstance(parts.confidence, StatedConfidence)
    codec = Codec(parts.confidence)
    longest = parts.stage.rollouts.generate.sampling.max_new_tokens
    prompts = TeacherPrompts(
        parts.teachers, codec, settings.in_privileged, settings.note if settings.in_note else ""
    )
    require_space(codec, parts.student, longest, parts.stage.name)
    verifier = VerdictFilter(parts.sampler, parts.student, parts.kind, prompts)
    return ConfidenceFilter(verifier, settings, codec, longest)


@dataclass(frozen=True)
class ConfidenceFilter:
    """Judges like `verifier`, then replaces stated confidences by the measured pass rate μ̂.

    The verifier's `context` shows the teacher μ̂; `longest` limits a rewritten answer, in tokens.
    """

    verifier: VerdictFilter
    settings: CalibratedFilter
    codec: Codec
    longest: int

    def judge(
        self, prompts: Sequence[Prompt], trajectories: Sequence[Sequence[Trajectory]]
    ) -> list[Group]:
        return self.verifier.judge(prompts, trajectories)

    def rows(self, groups: Sequence[Group]) -> tuple[list[TrainRow], list[DroppedAnswer]]:
        rows = [
            self._row(owner, group, answer)
            for owner, group in enumerate(groups)
            if group.verdicts
            for answer in group.answers
        ]
        return rows, [
            DroppedAnswer(answer, NO_VERDICT)
            for group in groups
            if not group.verdicts
            for answer in group.answers
        ]

    def _row(self, owner: int, group: Group, answer: Answer) -> TrainRow:
        target = measured_confidence(group.verdicts)
        row = plain_row(owner, group, answer, DIVERGENCE, self.verifier.context, target)
        row = replace(row, confidence=self.codec.read(answer.text).value, target_confidence=target)
        if answer.truncated:
            return row
        if self.settings.in_answer:
            return self._with_measured_confidence(row, target)
        # The student's own statement stays; only the teacher corrects it.
        statement_T = confidence_tokens(self.codec, self.verifier.student, row.answer.ids)
        kinds, coefficients = _kinds_and_coefficients(statement_T, DIVERGENCE, self.settings.weight)
        return replace(row, kinds=kinds, coefficients=coefficients)

    def _with_measured_confidence(self, row: TrainRow, target: float) -> TrainRow:
        student = self.verifier.student
        rewritten = with_confidence(self.codec, student, row.answer.ids, target, self.longest)
        answer = replace(
            row.answer,
            ids=rewritten.ids,
            text=decode(student, rewritten.ids),
            # Measured at the sampled ids, whose positions the rewritten answer no longer has.
            logprobs=None,
            entropies=None,
            sampled_logprobs=None,
        )
        statement_T = np.zeros(len(rewritten.ids), bool)
        statement_T[rewritten.start : rewritten.stop] = True
        statement_kind = CROSS_ENTROPY if self.settings.target == "one_hot" else DIVERGENCE
        kinds, coefficients = _kinds_and_coefficients(
            statement_T, statement_kind, self.settings.weight
        )
        return replace(
            row,
            answer=answer,
            kinds=kinds,
            coefficients=coefficients,
            # Without these the row gets no importance weights; nobody sampled its ids as they are.
            anchor_logprobs=None,
            behaviour_logprobs=None,
            edited=True,
        )


def measured_confidence(verdicts: Sequence[bool]) -> float:
    """Return μ̂ = (1/K) Σ_k R_k, the share of a problem's K judged answers that are right.

    Source: CaOPD, arXiv 2604.16830, eq. 6.
    """
    return sum(verdicts) / len(verdicts)


def _kinds_and_coefficients(
    statement_T: NDArray[np.bool_], statement_kind: int, weight: float
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return kinds and coefficients [T]; tokens after the statement learn by cross-entropy."""
    kinds = np.where(statement_T, statement_kind, DIVERGENCE).astype(np.int8)
    if statement_T.any():
        # A divergence here would make the student forget how to end; see the module's docstring.
        kinds[np.flatnonzero(statement_T)[-1] + 1 :] = CROSS_ENTROPY
    return kinds, np.where(statement_T, weight, 1.0).astype(np.float32)
