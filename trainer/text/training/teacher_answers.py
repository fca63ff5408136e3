"""Answers that the student did not write: the teacher's, once per run, and the solutions.

A sampled teacher answer follows from (seed, problem) alone; an endpoint's follows from its reply. A
checkpoint stores the answers, so that a resumed run does not ask again.
"""

from __future__ import annotations

from collections.abc import Sequence

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
) -> tuple[dict[int, list[Answer]], dict[int, str]]:
    """Have the teachers answer the problems at `indices`, as often as any stage needs.

    Returns the answers, and the reasons for problems that get none, both by index. The answers
    carry the student's own prompts, after which the student learns them.
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
        answers_per_problem(spec),
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
    index_by_id = {components.train[index].problem.id: index for index in indices}
    by_index: dict[int, list[Answer]] = {}
    for answer in answers:
        by_index.setdefault(index_by_id[answer.problem.id], []).append(answer)
    return by_index, set_aside


def answers_per_problem(spec: RunSpec) -> int:
    """The most answers of the teacher to a problem that a stage uses; they are written once."""
    return max(
        stage.rollouts.generate.per_problem for stage in spec.stages if stage.uses_teacher_answers
    )
