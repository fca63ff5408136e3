"""Divergence of a student from its teacher on given answers: backbones, heads and objective in one call.

Teacher and student read the same ids. Nothing flows back into the teacher.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from trainer.text.heads import head_of
from trainer.text.models import LanguageModel
from trainer.text.objectives.batch import Row, completion_ids, response_hidden
from trainer.text.objectives.linear_divergence import Kind, TeacherLogits, TokenStatistics, linear_divergence

__all__ = ["Divergence", "TokenStatistics", "divergence", "score"]


@dataclass(frozen=True)
class Divergence:
    """`loss` = Σ_t coefficient_t · D_t, not normalised; `tokens` has the rows' tokens one after the other."""

    loss: Tensor
    tokens: TokenStatistics


def divergence(
    student: LanguageModel,
    teacher: LanguageModel,
    rows: Sequence[Row],
    coefficients_T: Tensor | None,
    kind: Kind,
    temperature: float = 1.0,
    vocabulary: int | None = None,
) -> Divergence:
    """Score the rows' completions; `coefficients_T` (default: ones) weigh their tokens in the loss, which can be differentiated once.

    `vocabulary` is the size that both tokenizers share (default: the student's).
    """
    vocabulary = vocabulary or student.vocabulary
    ids_T = completion_ids(rows).to(student.device)
    if coefficients_T is None:
        coefficients_T = torch.ones(len(ids_T), device=student.device)
    hidden_TH = response_hidden(student, rows)
    loss, tokens = linear_divergence(
        hidden_TH, head_of(student.model), _teacher_logits(teacher, rows, vocabulary), coefficients_T.to(student.device), ids_T, kind,
        vocabulary=vocabulary, temperature=temperature,
    )  # fmt: skip
    return Divergence(loss, tokens)


@torch.no_grad()
def score(student: LanguageModel, teacher: LanguageModel, rows: Sequence[Row], kind: Kind, temperature: float = 1.0) -> TokenStatistics:
    """The statistics alone, without a gradient."""
    return divergence(student, teacher, rows, None, kind, temperature).tokens


@torch.no_grad()
def _teacher_logits(teacher: LanguageModel, rows: Sequence[Row], vocabulary: int) -> TeacherLogits:
    hidden_TH = response_hidden(teacher, rows)
    head = head_of(teacher.model)
    return lambda tokens: head.logits(hidden_TH[tokens], vocabulary)
