"""Whether the teachers of a run can teach its student its problems, as far as texts and ids show.

The run checks this before its first step, with its networks loaded; the preflight does so earlier,
with tokenizers alone. Nothing here imports torch.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from trainer.spec import EndpointTeacher, RunSpec, TextTeacher
from trainer.text.language.model_folders import ModelError
from trainer.text.language.text_models import TextModel
from trainer.text.language.tokenizers import require_same_vocabulary, token_texts
from trainer.text.problems import Problem, ProblemError
from trainer.text.rollouts.questions import Question
from trainer.text.teachers.contexts import PromptFormatter, require_privileged
from trainer.text.teachers.stored_texts import pairs_for, texts_for

# Encoding every privileged text of a large data set would delay the start of the run.
MOST_CHECKED = 1000
TEXTS_ONLY_REMEDY = (
    "Or learn from the teacher's texts alone, for which any tokenizer will do: "
    "give every stage the source teacher_written and the objective cross_entropy."
)


def compares_probabilities(spec: RunSpec) -> bool:
    """Whether a stage compares the student with a teacher's probabilities."""
    return any(stage.compares_with_teacher for stage in spec.stages)


def needs_teacher(spec: RunSpec) -> bool:
    """Whether a stage learns from a teacher; otherwise none is loaded."""
    return compares_probabilities(spec) or any(
        stage.uses_teacher_answers or stage.reads_pairs for stage in spec.stages
    )


def shares_vocabulary(student: TextModel, teacher: TextModel, compared: bool) -> bool:
    """Whether the teacher's ids have the student's meaning.

    Raises ModelError if they do not but `compared` says that they must.
    """
    try:
        require_same_vocabulary(student, teacher)
    except ModelError as error:
        if compared:
            raise ModelError(f"{error} {TEXTS_ONLY_REMEDY}") from error
        return False
    return True


def joint_ends(student: TextModel, teachers: Sequence[TextModel]) -> tuple[int, ...]:
    """Return the student's end tokens, then those of the teachers, which share its tokenizer."""
    teachers_ends = [
        end for teacher in teachers for end in teacher.eos_ids if end < student.vocabulary
    ]
    return tuple(dict.fromkeys((*student.eos_ids, *teachers_ends)))


def added_ends_note(student: TextModel, ends: Sequence[int]) -> str:
    """Say which end tokens the student gets from its teachers; "" if it has all `ends` itself."""
    added = token_texts(student, ends[len(student.eos_ids) :])
    if not added:
        return ""
    own = ", ".join(token_texts(student, student.eos_ids))
    return (
        f"The student's answers end at {', '.join(added)} too, as its teacher's do; its own "
        f"end tokens are {own}."
    )


def require_specialist_problems(domains: Collection[str], questions: Sequence[Question]) -> None:
    """Raise ProblemError if a specialist's domain is that of no training problem."""
    problem_domains = {question.problem.domain for question in questions}
    if unused_domains := [domain for domain in domains if domain not in problem_domains]:
        raise ProblemError(
            f"no training problem has the domain “{unused_domains[0]}” of "
            "networks.specialists; correct it or remove the specialist"
        )


def check_taught(formatter: PromptFormatter, name: str, questions: Sequence[Question]) -> list[str]:
    """Check that the teacher `name` can read these questions; return notes.

    Raises ModelError or ProblemError.
    """
    require_privileged(formatter.context, [question.problem for question in questions])
    if not questions:
        return []
    # Only the longest question, without a privileged text: nothing of it can be shortened.
    formatter.prompt(max(questions, key=lambda question: len(question.prompt)), "")
    sampled = questions[:: max(1, len(questions) // MOST_CHECKED)]
    too_long = sum(not formatter.shows_all(question) for question in sampled)
    if not too_long:
        return []
    return [
        f"What the {name} is shown is too long for {too_long} of {len(sampled)} training "
        "problems that were looked at, and loses its "
        f"middle: together with question and longest answer ({formatter.longest} tokens) it must "
        "fit the model and the context's most_tokens."
    ]


def check_written(
    teacher: TextTeacher | EndpointTeacher | None, problems: Sequence[Problem]
) -> None:
    """Raise ProblemError if a teacher that gives texts has none for some of the problems.

    So does a column of its file that is named but not there.
    """
    if isinstance(teacher, TextTeacher):
        texts_for(teacher, problems)
        if teacher.rejected is not None:
            pairs_for(teacher, problems, 1)
    elif isinstance(teacher, EndpointTeacher):
        require_privileged(teacher.context, problems)
