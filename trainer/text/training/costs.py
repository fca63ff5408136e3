"""Token and floating-point costs of a run.

A forward pass of a network with N parameters takes about 2N operations per token and a backward
pass twice that (Kaplan et al. 2020, arXiv 2001.08361). Attention over the context and the sampler's
cache are left out: at the lengths of these runs they are small.
"""

from __future__ import annotations

from collections.abc import Sequence

from trainer.engine.loop import Runtime
from trainer.text.language.models import LanguageModel
from trainer.text.rollouts.answers import tokens_of
from trainer.text.rollouts.questions import Answer
from trainer.text.rollouts.records import TrainRow
from trainer.text.rollouts.telemetry import Telemetry
from trainer.text.teachers.loading import Teachers

# Operations per parameter and token: forward only, and forward with backward.
FORWARD = 2
TRAINED = 6


def parameters(model: LanguageModel) -> int:
    """Number of parameters; tied ones count once."""
    return sum(parameter.numel() for parameter in model.model.parameters())


def count_answers(rt: Runtime, answers: Sequence[Answer]) -> None:
    """Count the tokens of the answers that are given to a training step.

    Each answer counts once, whether or not something is learnt from it, so that methods that pass
    over some of their answers compare with those that do not. Answers of evaluations and for pass
    rates cost operations only.
    """
    rt.count_tokens(sum(len(answer.ids) for answer in answers))


def count_round(rt: Runtime, student: LanguageModel, round: Telemetry) -> None:
    """Count what the student wrote in a round, in whichever round its answers are completed."""
    rt.count_operations(FORWARD * parameters(student) * round.read)
    rt.count_tokens(round.generated)


def count_sampled(rt: Runtime, model: LanguageModel, answers: Sequence[Answer]) -> None:
    """Count the operations of sampling these answers, their prompts included."""
    rt.count_operations(FORWARD * parameters(model) * tokens_of(answers))


def count_read_by_teachers(rt: Runtime, teachers: Teachers, rows: Sequence[TrainRow]) -> None:
    """Count one forward pass of each row through its teacher, after the teacher's own prompt."""
    for view in teachers.loaded:
        read = sum(
            len(row.teacher_prompt) + len(row.answer.ids)
            for row in rows
            if row.teacher == view.name
        )
        rt.count_operations(FORWARD * parameters(view.language_model) * read)


def count_scored(rt: Runtime, student: LanguageModel, answers: Sequence[Answer]) -> None:
    """Count a forward pass of the student over the answers, without training on them."""
    rt.count_operations(FORWARD * parameters(student) * tokens_of(answers))


def count_trained(rt: Runtime, student: LanguageModel, answers: Sequence[Answer]) -> None:
    """Count a forward and backward pass of the student over the answers."""
    rt.count_operations(TRAINED * parameters(student) * tokens_of(answers))
