"""Answers that the student did not write: the teacher's, once per problem, and the solutions.

A sampled teacher answer follows from (seed, problem) alone; an endpoint's follows from its reply. A
checkpoint stores the answers, so that a resumed run does not ask again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainer.engine.loop import Runtime
from trainer.spec import RunSpec, Stage
from trainer.text.language.chat import text_ids
from trainer.text.language.models import LanguageModel
from trainer.text.recording.rollout_files import evenly_spaced, record_answers
from trainer.text.recording.teacher_signals import compute_token_signals
from trainer.text.rollouts.answers import truncated_share
from trainer.text.rollouts.engines.noise import Noise
from trainer.text.rollouts.questions import Answer, Question
from trainer.text.teachers.teacher_writer import TeacherWriter, write_answers
from trainer.text.training.components import RunComponents
from trainer.text.training.costs import count_sampled
from trainer.text.training.log_messages import describe_set_aside, describe_teacher_answers
from trainer.text.training.row_collection import pass_rate


class TeacherAnswerStore:
    """Teacher answers by the index of their problem in the pool.

    `set_aside` has the reason for each problem that the teacher did not answer.
    """

    def __init__(self) -> None:
        self.by_index: dict[int, Answer] = {}
        self.set_aside: dict[int, str] = {}

    def missing(self, indices: Sequence[int]) -> list[int]:
        return [
            index for index in indices if index not in self.by_index and index not in self.set_aside
        ]

    def add(
        self, indices: Sequence[int], answers: Sequence[Answer], set_aside: Mapping[int, str]
    ) -> None:
        """Add the answers to the problems at `indices` without those that are set aside."""
        answered = [index for index in indices if index not in set_aside]
        self.by_index.update(zip(answered, answers, strict=True))
        self.set_aside.update(set_aside)

    def answered(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return those of the problems that were not set aside, in their order."""
        return indices[~np.isin(indices, list(self.set_aside))] if self.set_aside else indices

    def tensors(self) -> dict[str, Tensor]:
        """Token ids of all answers concatenated, with lengths and indices; {} without answers."""
        if not self.by_index:
            return {}
        ids = [token for answer in self.by_index.values() for token in answer.ids]
        lengths = [len(answer.ids) for answer in self.by_index.values()]
        # The keys are part of the checkpoint format.
        columns = {"ids": ids, "lengths": lengths, "places": list(self.by_index)}
        return {name: torch.tensor(column, dtype=torch.int32) for name, column in columns.items()}

    def verdicts(self) -> list[dict[str, Any]]:
        """What tensors cannot hold of each answer, in the same order."""
        return [
            {
                "truncated": answer.truncated,
                "text": answer.text,
                "verdict": answer.verdict,
                "read": answer.read,
            }
            for answer in self.by_index.values()
        ]

    def reasons(self) -> dict[str, str]:
        """Why problems were set aside, with their indices as JSON has them."""
        return {str(index): reason for index, reason in self.set_aside.items()}

    def load(
        self,
        tensors: Mapping[str, Tensor],
        verdicts: Sequence[dict[str, Any]],
        reasons: Mapping[str, str],
        questions: Sequence[Question],
    ) -> None:
        self.by_index = {}
        self.set_aside = {int(index): reason for index, reason in reasons.items()}
        if not tensors:
            return
        ids_by_answer = torch.split(tensors["ids"], tensors["lengths"].tolist())
        for index, ids, verdict in zip(
            tensors["places"].tolist(), ids_by_answer, verdicts, strict=True
        ):
            question = questions[index]
            self.by_index[index] = Answer(
                question.problem, 0, "teacher", question.prompt, tuple(ids.tolist()), **verdict
            )


def solution_answer(student: LanguageModel, question: Question, longest: int) -> Answer:
    """Return the worked solution as a correct answer, cut to `longest` of the student's tokens."""
    problem = question.problem
    solution_ids = (*text_ids(student, problem.solution), student.eos_ids[0])
    return Answer(
        problem,
        0,
        "teacher",
        question.prompt,
        solution_ids[:longest],
        len(solution_ids) > longest,
        problem.solution,
        True,
        problem.answer,
    )


def write_teacher_answers(
    components: RunComponents, spec: RunSpec, stage: Stage, indices: Sequence[int], rt: Runtime
) -> tuple[list[Answer], dict[int, str]]:
    """Have the teachers answer the problems at `indices`.

    Returns the answers, and the reasons by index for problems that get none. The answers carry the
    student's own prompts, after which the student learns them.
    """
    teachers, questions = components.teachers, [components.train[index] for index in indices]
    teacher_output = write_answers(
        teachers,
        questions,
        stage.rollouts.generate.sampling,
        # Round 0 at every step: a teacher answers a problem once per run.
        Noise(spec.seed, 0, "teacher"),
        # The folder of the run, not of the attempt: the cache of a paid endpoint serves all
        # attempts.
        TeacherWriter(components.student, components.sampler, rt.folder.parent.parent),
        lambda done, of: rt.progress("teacher_responses", done, of),
    )
    answers = teacher_output.answers
    for view in teachers.loaded:
        view_answers = [answer for answer in answers if teachers.view_of(answer.problem) is view]
        count_sampled(rt, view.language_model, view_answers)
    rt.metrics(
        {
            "teacher/pass_rate": pass_rate(answers),
            "teacher/truncated": truncated_share(answers),
            **teacher_output.metrics,
        }
    )
    rt.log.log("info", describe_teacher_answers(answers))
    for note in teacher_output.notes:
        rt.log.log("info", note)
    set_aside = {indices[place]: reason for place, reason in teacher_output.set_aside.items()}
    if set_aside:
        ids = {components.train[index].problem.id: why for index, why in set_aside.items()}
        rt.log.log("warning", describe_set_aside(ids, len(indices)))
    recorded = evenly_spaced(answers, spec.record.rollouts)
    record_answers(
        rt,
        components.student,
        "teacher",
        recorded,
        len(answers),
        compute_token_signals(components, recorded, rt.micro_batch_tokens, rt),
    )
    return answers, set_aside
