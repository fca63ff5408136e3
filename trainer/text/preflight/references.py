"""The verifier and the references of the problems: whether it reads them, and accepts them."""

from __future__ import annotations

from collections.abc import Sequence

from trainer.engine.outcome import sentence_of
from trainer.spec import ExactVerifier, RunSpec
from trainer.text.language.characters import UnwritableText
from trainer.text.language.chat import text_ids
from trainer.text.language.model_folders import ModelError
from trainer.text.language.text_models import TextModel
from trainer.text.language.tokenizers import decode
from trainer.text.preflight.networks import STUDENT
from trainer.text.preflight.prompts import check_characters, lacking
from trainer.text.preflight.reporter import Reporter
from trainer.text.preflight.run_problems import RoleProblems
from trainer.text.problems import Problem, ProblemError
from trainer.text.problems.selection import excerpt
from trainer.text.training.problem_checks import answer_limits, check_readable_references
from trainer.text.verifiers import Verifier, VerifierError

VERIFIER = "data.verifier"


def check_references_of(
    spec: RunSpec,
    student: TextModel | None,
    problems: Sequence[RoleProblems],
    reporter: Reporter,
) -> None:
    """Check the verifier on references, and whether the student can write them."""
    # The training problems of a cohort have no references.
    unread = ("retained", "train") if spec.data.is_cohort else ("retained",)
    roles = [role for role in problems if role.role not in unread]
    if not roles:
        return
    reporter.phase("starting the verifier")
    with Verifier(spec.data.verifier, spec.data.verifier_seconds) as verifier:
        try:
            for role in sorted(roles, key=lambda role: role.role):
                reporter.phase(f"reading the references of the {role.adjective} problems")
                _check_readable(spec, verifier, role, reporter)
                _check_accepted(spec, verifier, student, role, reporter)
        except VerifierError as error:
            reporter.refuse("verifier", VERIFIER, sentence_of(error))
    if student:
        for role in roles:
            reporter.phase(f"encoding the references of the {role.adjective} problems")
            _check_writable(spec, student, role, reporter)


def _check_readable(
    spec: RunSpec, verifier: Verifier, role: RoleProblems, reporter: Reporter
) -> None:
    """Refuse where the run does: if most of all held-out references cannot be read."""
    kind = spec.data.verifier.kind

    def warn(sentence: str) -> None:
        reporter.warn("references", VERIFIER, sentence)

    try:
        check_readable_references(kind, verifier, role.adjective, role.sample, warn)
    except ProblemError:
        with reporter.check("references", VERIFIER):
            # The sample may mislead; the run counts them all.
            check_readable_references(kind, verifier, role.adjective, role.items, warn)


def _check_accepted(
    spec: RunSpec,
    verifier: Verifier,
    student: TextModel | None,
    role: RoleProblems,
    reporter: Reporter,
) -> None:
    """Warn if a reference, given as the answer to its own problem, is not right."""
    problems = role.sample
    readings = verifier.read_references(problem.answer for problem in problems)
    readable = [
        (index, problem)
        for index, problem, reading in zip(role.sampled, problems, readings, strict=True)
        if reading
    ]
    answers = [_as_answer(spec, problem.answer) for _, problem in readable]
    references = [problem.answer for _, problem in readable]
    verdicts = verifier.judge(zip(answers, references, strict=True))
    rejected = [
        (index, problem)
        for (index, problem), verdict in zip(readable, verdicts, strict=True)
        if not verdict.correct
    ]
    if rejected:
        _warn_rejected(spec, role, rejected, "", reporter)
    if student is None:
        return
    refused = {index for index, _ in rejected}
    rewritten = [
        (index, problem, text)
        for (index, problem), answer in zip(readable, answers, strict=True)
        if index not in refused
        and (text := _written(student, answer)) is not None
        and " ".join(text.split()) != " ".join(answer.split())
    ]
    verdicts = verifier.judge((text, problem.answer) for _, problem, text in rewritten)
    rejected = [
        (index, problem)
        for (index, problem, _), verdict in zip(rewritten, verdicts, strict=True)
        if not verdict.correct
    ]
    if rejected:
        _warn_rejected(spec, role, rejected, " as the student's tokenizer writes them", reporter)


def _warn_rejected(
    spec: RunSpec,
    role: RoleProblems,
    rejected: Sequence[tuple[int, Problem]],
    how: str,
    reporter: Reporter,
) -> None:
    index, problem = rejected[0]
    reporter.warn(
        "references",
        VERIFIER,
        f"The verifier {spec.data.verifier.kind} does not accept {len(rejected):,} of the "
        f"reference answers of {role.sample_noun}{how} as right answers to their own problems, "
        f"such as {excerpt(problem.answer)} of {role.named(index)}. No answer may be right there; "
        "choose another verifier or change its settings.",
    )


def _as_answer(spec: RunSpec, reference: str) -> str:
    """The reference as an answer: an exact verifier may demand a mark before it."""
    verifier = spec.data.verifier
    if isinstance(verifier, ExactVerifier) and verifier.after and verifier.after not in reference:
        return f"{verifier.after} {reference}"
    return reference


def _written(student: TextModel, text: str) -> str | None:
    """The text as the student's tokens spell it; None if it has none for a part."""
    try:
        return decode(student, text_ids(student, text))
    except ModelError:
        return None


def _check_writable(
    spec: RunSpec, student: TextModel, role: RoleProblems, reporter: Reporter
) -> None:
    """Warn of references that the student cannot write, or not within its longest answer."""

    def answer(problem: Problem) -> str:
        return problem.answer

    path = f"{STUDENT}.model"
    role = check_characters(student, path, role, "reference answers", answer, reporter)
    limits = answer_limits(spec)
    longest = limits.pool if role.role == "train" else limits.held_out
    unwritable: list[tuple[int, UnwritableText]] = []
    too_long: list[int] = []
    for index in role.sampled:
        try:
            # One token is the end.
            if len(text_ids(student, role.items[index].answer)) + 1 > longest:
                too_long.append(index)
        except UnwritableText as error:
            unwritable.append((index, error))
        except ModelError as error:
            reporter.warn("references", path, sentence_of(error))
            return
    pieces = [piece for _, error in unwritable for piece in error.pieces]
    if pieces:
        sentence = lacking(path, role, pieces, unwritable, "reference answers", answer)
        reporter.warn("references", path, f"{sentence} The student can never answer these right.")
    if too_long:
        reporter.warn(
            "references",
            role.path,
            f"{len(too_long):,} of the reference answers of {role.sample_noun} have no room in "
            f"the student's longest answer ({longest:,} tokens), the first is that of "
            f"{role.named(too_long[0])}. Raise max_new_tokens, or map another column as the "
            "answer.",
        )
