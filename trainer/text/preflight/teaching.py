"""The teachers' side: their prompts, privileged texts, and texts from files or endpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from trainer.engine.outcome import sentence_of
from trainer.spec import (
    EndpointTeacher,
    ModelTeacher,
    RunSpec,
    SelfTeacher,
    ServedTeacher,
    TextTeacher,
)
from trainer.spec.networks import Context
from trainer.spec.rules.served import served_teachers
from trainer.text.language.chat import PromptTooLong
from trainer.text.preflight.networks import TEACHER, OpenedNetworks, noun_of
from trainer.text.preflight.prompts import asked_text, attempt_each
from trainer.text.preflight.reporter import Reporter
from trainer.text.preflight.run_problems import RoleProblems
from trainer.text.problems import Problem, ProblemError, locate
from trainer.text.rollouts.questions import Question, question_text
from trainer.text.teachers.contexts import (
    PromptFormatter,
    privileged_text,
    prompt_text,
    require_privileged,
)
from trainer.text.teachers.teachability import (
    check_taught,
    check_written,
    needs_teacher,
    require_specialist_problems,
)
from trainer.text.training.problem_checks import answer_limits, codec_of, require_solutions


def check_teaching(
    spec: RunSpec, opened: OpenedNetworks, problems: Sequence[RoleProblems], reporter: Reporter
) -> None:
    """Check that the teachers of a run can teach its training problems."""
    _describe_remote(spec, reporter)
    train = next((role for role in problems if role.role == "train"), None)
    if train is None:
        return
    if any(stage.source == "solutions" for stage in spec.stages):
        with reporter.check("data", train.path):
            require_solutions(train.items)
    if not needs_teacher(spec):
        return
    reporter.phase("asking the teachers")
    domains = {
        domain: f"networks.specialists.{index}.teacher"
        for index, specialist in enumerate(spec.networks.specialists)
        for domain in specialist.domains
    }
    with reporter.check("teaching", "networks.specialists"):
        require_specialist_problems(domains, [_bare(problem) for problem in train.items])
    for path, context in _contexts(spec):
        taught = [
            index
            for index, problem in enumerate(train.items)
            if domains.get(problem.domain, TEACHER) == path
        ]
        with reporter.check("teaching", f"{path}.context.shows"):
            require_privileged(context, [train.items[index] for index in taught])
        if path in opened.teachers:
            _check_prompts(spec, opened, path, context, train, set(taught), reporter)
    _check_texts(spec, [item for item in train.items if item.domain not in domains], reporter)


def _describe_remote(spec: RunSpec, reporter: Reporter) -> None:
    teacher = spec.networks.teacher
    if isinstance(teacher, EndpointTeacher) and needs_teacher(spec):
        reporter.fact(
            "not_checked",
            f"{TEACHER}.url",
            "The teacher's tokenizer and longest text were not checked, because it is behind an "
            "endpoint; a prompt that it refuses is set aside while the run writes its answers.",
        )

    for path, served in served_teachers(spec):
        reporter.fact(
            "not_checked",
            f"{path}.urls",
            f"The servers of {served.model} were not asked; the run checks their scores of fixed "
            "texts before its first step.",
        )


def _contexts(spec: RunSpec) -> list[tuple[str, Context]]:
    """The contexts of the teachers that read the student's answers, by path."""
    own = spec.networks.teacher
    main = (
        [(TEACHER, own.context)]
        if isinstance(own, ModelTeacher | SelfTeacher | ServedTeacher)
        else []
    )
    return main + [
        (f"networks.specialists.{index}.teacher", specialist.teacher.context)
        for index, specialist in enumerate(spec.networks.specialists)
    ]


def _check_prompts(
    spec: RunSpec,
    opened: OpenedNetworks,
    path: str,
    context: Context,
    train: RoleProblems,
    taught: set[int],
    reporter: Reporter,
) -> None:
    teacher = opened.teachers[path]
    formatter = PromptFormatter(teacher, context, max(answer_limits(spec).stages))
    codec = codec_of(spec)
    indices = [index for index in train.sampled if index in taught]
    # The student's own text is the question that its teacher reads.
    texts = {index: question_text(spec.data.prompt, train.items[index], codec) for index in indices}

    def encode(index: int) -> Question:
        problem = train.items[index]
        ids = formatter.encoded(Question(problem, (), texts[index]), "")
        privileged = privileged_text(context, problem)
        if privileged:
            formatter.encoded(Question(problem, (), texts[index]), privileged)
        return Question(problem, ids, texts[index])

    def text_of(problem: Problem) -> str:
        question = question_text(spec.data.prompt, problem, codec)
        return asked_text(
            problem, prompt_text(context, question, privileged_text(context, problem))
        )

    setting = opened.setting(path)
    questions = attempt_each(setting, train, indices, encode, text_of, reporter)
    if len(questions) == len(indices):
        with reporter.check("teaching", setting):
            try:
                notes = check_taught(formatter, noun_of(path), list(questions.values()))
            except PromptTooLong as error:
                _report_too_long(formatter, setting, train, questions, error, reporter)
                return
            for note in notes:
                reporter.warn("length", f"{path}.context", note)


def _report_too_long(
    formatter: PromptFormatter,
    setting: str,
    train: RoleProblems,
    questions: Mapping[int, Question],
    error: PromptTooLong,
    reporter: Reporter,
) -> None:
    room = formatter.language_model.max_length - formatter.longest
    too_long = [index for index, question in questions.items() if len(question.prompt) > room]
    longest = max(too_long, key=lambda index: len(questions[index].prompt))
    reporter.refuse(
        "length",
        setting,
        f"{sentence_of(error)} This holds for {len(too_long):,} of the {train.sample_noun}; the "
        f"longest is {train.named(longest)}.",
    )


def _check_texts(spec: RunSpec, problems: Sequence[Problem], reporter: Reporter) -> None:
    teacher = spec.networks.teacher
    if isinstance(teacher, TextTeacher):
        if teacher.path.startswith("hub:"):
            try:
                locate(teacher.path)
            except ProblemError:
                reporter.fact(
                    "not_checked",
                    f"{TEACHER}.path",
                    f"The teacher's answers were not checked, because {teacher.path} is not on "
                    "this machine.",
                )
                return
        with reporter.check("teaching", f"{TEACHER}.path"):
            check_written(teacher, problems)
    elif isinstance(teacher, EndpointTeacher):
        with reporter.check("teaching", f"{TEACHER}.context.shows"):
            check_written(teacher, problems)


def _bare(problem: Problem) -> Question:
    return Question(problem, (), "")
