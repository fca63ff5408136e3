"""Refused combinations with a teacher on a server: what it gives decides what may be chosen.

The log-prob of the written token is enough for ratio and policy-gradient objectives. The teacher's
top k with the mass of all others also determines divergences at temperature 1 over those tokens.
Hidden states with the teacher's head determine everything.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from trainer.spec.objectives.divergence import Divergence, TopLogits
from trainer.spec.objectives.objective import Need
from trainer.spec.served_teacher import (
    HiddenStates,
    ServedTeacher,
    ServerLogprobs,
    TopLogprobs,
)
from trainer.spec.token_scores import TOKEN_SCORES
from trainer.spec.tokens import SelectedTokens

if TYPE_CHECKING:
    from trainer.spec.run import RunSpec
    from trainer.spec.stages import Stage

Refusal = tuple[str, str]


def served_teachers(spec: RunSpec) -> list[tuple[str, ServedTeacher]]:
    """Return the teachers on servers with their paths in the definition."""
    teachers = [("networks.teacher", spec.networks.teacher)] + [
        (f"networks.specialists.{index}.teacher", specialist.teacher)
        for index, specialist in enumerate(spec.networks.specialists)
    ]
    return [(path, teacher) for path, teacher in teachers if isinstance(teacher, ServedTeacher)]


def served_network_refusals(spec: RunSpec) -> Iterator[Refusal]:
    for path, teacher in served_teachers(spec):
        if teacher.program == "sglang" and isinstance(teacher.gives, HiddenStates):
            yield (
                f"{path}.gives.kind",
                "is hidden_states, which our extension gives for vllm alone; choose vllm as "
                "program, or top_k",
            )
        if isinstance(teacher.check, ServerLogprobs) and not isinstance(
            teacher.gives, HiddenStates
        ):
            yield (
                f"{path}.check.kind",
                f"is server, but the server gives its own log-probs alone ({teacher.gives.kind}), "
                "which are equal to themselves; choose local or recorded",
            )
        if spec.pool.measure_snr and not isinstance(teacher.gives, HiddenStates):
            yield (
                "pool.measure_snr",
                f"is on, which differentiates single answers with the teacher's whole "
                f"distribution, but {path}.gives is {teacher.gives.kind}; turn it off or choose "
                "hidden_states",
            )


def served_stage_refusals(spec: RunSpec, stage: Stage) -> Iterator[Refusal]:
    """Yield the refusals of a stage; paths are relative to it."""
    for path, teacher in served_teachers(spec):
        if stage.source == "teacher_written":
            yield (
                "source",
                f"is teacher_written, but {path} is of kind served, which scores answers and "
                "writes none; choose student_rollouts or solutions, or a teacher of kind endpoint",
            )
        elif stage.uses_teacher_answers:
            yield (
                "pairs.chosen",
                f"is teacher, but {path} is of kind served, which scores answers and writes none; "
                "choose solutions, or a teacher of kind endpoint",
            )
        if not isinstance(teacher.gives, HiddenStates):
            yield from _without_distribution(path, teacher, stage)


def _without_distribution(path: str, teacher: ServedTeacher, stage: Stage) -> Iterator[Refusal]:
    """Yield what a teacher without hidden states does not allow."""
    gives, objective = teacher.gives, stage.objective
    given = f"{path}.gives is {gives.kind}"
    if Need.TEACHER_LOGITS in objective.needs:
        if isinstance(gives, TopLogprobs) and isinstance(objective, Divergence):
            yield from _over_top_tokens(given, gives, objective)
        else:
            yield (
                "objective.kind",
                f"is {objective.kind}, which compares distributions, but {given}; choose "
                f"policy_gradient, or {path}.gives hidden_states"
                + (" or top_k" if isinstance(objective, Divergence) else ""),
            )
    temperature = stage.rollouts.generate.sampling.temperature
    if Need.TEACHER_LOGPROB in stage.requirements and temperature != 1:
        yield (
            "rollouts.generate.sampling.temperature",
            f"is {temperature:g}, but {given}, which is known at temperature 1; set it to 1 or "
            f"choose {path}.gives hidden_states",
        )
    tokens = stage.tokens
    if isinstance(tokens, SelectedTokens) and TOKEN_SCORES[tokens.score].compares_with_teacher:
        yield (
            "tokens.score",
            f"is {tokens.score}, which needs the teacher's whole distribution, but {given}; choose "
            f"entropy or random, or {path}.gives hidden_states",
        )


def _over_top_tokens(given: str, gives: TopLogprobs, objective: Divergence) -> Iterator[Refusal]:
    vocabulary = objective.vocabulary
    if objective.temperature != 1:
        yield (
            "objective.temperature",
            f"is {objective.temperature:g}, but {given}, whose tail is known at temperature 1; set "
            "it to 1",
        )
    if not isinstance(vocabulary, TopLogits):
        yield (
            "objective.vocabulary.kind",
            f"is all, but {given}; choose top, with a k of at most {gives.k} of the teacher",
        )
        return
    if vocabulary.of != "teacher":
        yield (
            "objective.vocabulary.of",
            f"is student, but {given}, and the student's likeliest tokens may be others; choose "
            "teacher",
        )
    if vocabulary.k > gives.k:
        yield (
            "objective.vocabulary.k",
            f"is {vocabulary.k}, but {given} with k {gives.k}; lower it or raise that k",
        )
