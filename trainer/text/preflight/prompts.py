"""The student's prompts: characters that it cannot write, chat templates, lengths in tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from statistics import median

from trainer.engine.outcome import sentence_of
from trainer.spec import RunSpec
from trainer.text.language.characters import (
    UnwritableText,
    drops_line_breaks,
    fate_of,
    named_pieces,
)
from trainer.text.language.chat import (
    PromptTooLong,
    TemplateFailed,
    TemplateTooSlow,
    check_length,
    text_ids,
)
from trainer.text.language.model_folders import ModelError
from trainer.text.language.text_models import TextModel
from trainer.text.preflight.networks import STUDENT, noun_of
from trainer.text.preflight.reporter import Reporter
from trainer.text.preflight.run_problems import RoleProblems
from trainer.text.problems import Problem
from trainer.text.rollouts.questions import Question, encoded, question_text
from trainer.text.training.problem_checks import answer_limits, codec_of

# Problems with a character that the tokenizer lacks that join the sample.
MOST_JOINED = 20

Texts = Callable[[Problem], str]


def check_prompts(
    spec: RunSpec, student: TextModel, problems: RoleProblems, reporter: Reporter
) -> None:
    """Check the student's prompts of one role, and the solutions where it is trained on them."""
    reporter.phase(f"encoding the {problems.adjective} problems for the student")
    limits = answer_limits(spec)
    longest = limits.pool if problems.role == "train" else limits.held_out
    codec = codec_of(spec)

    def text_of(problem: Problem) -> str:
        return asked_text(problem, question_text(spec.data.prompt, problem, codec))

    problems = check_characters(student, f"{STUDENT}.model", problems, "", text_of, reporter)
    questions = attempt_each(
        f"{STUDENT}.model",
        problems,
        problems.sampled,
        lambda index: encoded(student, spec.data.prompt, problems.items[index], codec),
        text_of,
        reporter,
    )
    _check_lengths(spec, student, problems, questions, longest, reporter)
    _check_different(problems, questions, reporter)
    if problems.role == "train" and any(stage.uses_solutions for stage in spec.stages):
        _check_solutions(spec, student, problems, reporter)


def asked_text(problem: Problem, text: str) -> str:
    """The messages of a prompt: the problem's history, then `text`."""
    return "\n".join([*(message.text for message in problem.history), text])


def check_characters(
    language_model: TextModel,
    path: str,
    problems: RoleProblems,
    noun: str,
    text_of: Texts,
    reporter: Reporter,
) -> RoleProblems:
    """Warn of characters that the tokenizer drops or changes; return a sample with those it lacks.

    Every text is looked at, because a rare character is in no sample. `noun` says what of the
    problems the text is, as in “reference answers”.
    """
    first_index: dict[str, int] = {}
    for index, problem in enumerate(problems.items):
        for character in set(text_of(problem)).difference(first_index):
            first_index[character] = index
    fates: dict[str, list[str]] = {"dropped": [], "changed": [], "unknown": []}
    for character in sorted(first_index, key=lambda character: first_index[character]):
        if not character.isspace() and (fate := fate_of(language_model, character)) != "written":
            fates[fate].append(character)
    for fate, verb in (("dropped", "drops"), ("changed", "replaces")):
        if fates[fate]:
            reporter.warn(
                "characters",
                path,
                f"The {noun_of(path.removesuffix('.model'))}'s tokenizer {verb} "
                f"{named_pieces(fates[fate])}, "
                f"{_holders(problems, fates[fate], noun, text_of)}. "
                "Replace the characters in the data, or choose a model whose tokenizer has them.",
            )
    breaks = next(
        (index for index in problems.sampled if "\n" in text_of(problems.items[index]).strip()),
        None,
    )
    if breaks is not None and drops_line_breaks(language_model, text_of(problems.items[breaks])):
        reporter.warn(
            "characters",
            path,
            f"The {noun_of(path.removesuffix('.model'))}'s tokenizer drops line breaks, which "
            f"{noun or 'prompts'} have, such as that of {problems.named(breaks)} of the "
            f"{problems.all_noun}. Choose a model whose tokenizer has them.",
        )
    joined = [first_index[character] for character in fates["unknown"][:MOST_JOINED]]
    return replace(problems, sampled=tuple(sorted({*problems.sampled, *joined})))


def attempt_each(
    path: str,
    problems: RoleProblems,
    indices: Iterable[int],
    encode: Callable[[int], Question],
    text_of: Texts,
    reporter: Reporter,
) -> dict[int, Question]:
    """Return the questions that can be encoded, by index; report why the others cannot.

    Problems with one kind of error are one finding.
    """
    questions: dict[int, Question] = {}
    errors: dict[str, list[tuple[int, ModelError]]] = {}
    for index in indices:
        try:
            questions[index] = encode(index)
        except TemplateTooSlow as error:
            # Each further problem may take as long.
            reporter.refuse(
                "template",
                path,
                f"{sentence_of(error)} It was tried with {problems.named(index)} of the "
                f"{problems.all_noun}.",
            )
            break
        except ModelError as error:
            errors.setdefault(_kind_of(error), []).append((index, error))
        except Exception as error:
            reporter.error("prompt", path, error)
            break
    for failed in errors.values():
        _report(path, problems, failed, text_of, reporter)
    return questions


def _kind_of(error: ModelError) -> str:
    # Messages of one kind differ in what they quote.
    return f"{type(error).__name__} {str(error).partition('“')[0]}"


def _report(
    path: str,
    problems: RoleProblems,
    failed: Sequence[tuple[int, ModelError]],
    text_of: Texts,
    reporter: Reporter,
) -> None:
    index, error = failed[0]
    pieces = [
        piece for _, error in failed if isinstance(error, UnwritableText) for piece in error.pieces
    ]
    if pieces:
        reporter.refuse("characters", path, lacking(path, problems, pieces, failed, "", text_of))
        return
    kind = {TemplateFailed: "template", PromptTooLong: "length"}.get(type(error), "prompt")
    reporter.refuse(
        kind,
        path,
        f"{sentence_of(error)} This holds for {len(failed):,} of the {problems.sample_noun}; the "
        f"first is {problems.named(index)}.",
    )


def lacking(
    path: str,
    problems: RoleProblems,
    pieces: Iterable[str],
    failed: Sequence[tuple[int, object]],
    noun: str,
    text_of: Texts,
) -> str:
    """Say which characters or words a tokenizer has no token for, and which problems have them."""
    distinct = list(dict.fromkeys(pieces))
    if all(len(piece) == 1 for piece in distinct):
        holders = _holders(problems, distinct, noun, text_of)
    else:
        where = f" in their {noun}" if noun else ""
        holders = (
            f"which {len(failed):,} of the {problems.sample_noun} hold{where}, the first is "
            f"{problems.named(failed[0][0])}"
        )
    return (
        f"The {noun_of(path.removesuffix('.model'))}'s tokenizer has no token for "
        f"{named_pieces(distinct)}, {holders}. Choose a model whose tokenizer has "
        f"{'it' if len(distinct) == 1 else 'them'}, or replace "
        f"{'it' if len(distinct) == 1 else 'them'} in the data."
    )


def _holders(problems: RoleProblems, characters: Sequence[str], noun: str, text_of: Texts) -> str:
    """“which 14 of the 2,000 training problems hold, the first is problem 3 (…)”."""
    lookup = set(characters)
    indices = [
        index
        for index, problem in enumerate(problems.items)
        if not lookup.isdisjoint(text_of(problem))
    ]
    where = f" in their {noun}" if noun else ""
    verb = "holds" if len(indices) == 1 else "hold"
    return (
        f"which {len(indices):,} of the {problems.all_noun} {verb}{where}, the first is "
        f"{problems.named(indices[0])}"
    )


def _check_lengths(
    spec: RunSpec,
    student: TextModel,
    problems: RoleProblems,
    questions: dict[int, Question],
    longest: int,
    reporter: Reporter,
) -> None:
    if not questions:
        return
    lengths = {index: len(question.prompt) for index, question in questions.items()}
    at = max(lengths, key=lambda index: lengths[index])
    too_long = sum(length + longest > student.max_length for length in lengths.values())
    try:
        check_length(student, questions[at].prompt, longest)
    except PromptTooLong as error:
        reporter.refuse(
            "length",
            _limit_path(spec, problems.role, longest),
            f"{sentence_of(error)} This holds for {too_long:,} of the {problems.sample_noun}; the "
            f"longest is {problems.named(at)}.",
        )
    limit = f", and the model reads {student.max_length:,}" if student.max_length < 2**31 else ""
    reporter.fact(
        "length",
        problems.path,
        f"The prompts of {len(lengths):,} {problems.adjective} problems have "
        f"{min(lengths.values()):,} to {max(lengths.values()):,} tokens with the student (median "
        f"{median(lengths.values()):g}); answers have at most {longest:,}{limit}.",
    )


def _limit_path(spec: RunSpec, role: str, longest: int) -> str:
    """The setting of the longest answers to problems of a role."""
    if role != "train":
        return "evaluation.sampling.max_new_tokens"
    for index, limit in enumerate(answer_limits(spec).stages):
        if limit == longest:
            return f"stages.{index}.rollouts.generate.sampling.max_new_tokens"
    return "pool.sampling.max_new_tokens"


def _check_different(
    problems: RoleProblems, questions: dict[int, Question], reporter: Reporter
) -> None:
    """Warn if two different questions have the same prompt."""
    index_by_prompt: dict[tuple[int, ...], int] = {}
    for index, question in questions.items():
        twin = index_by_prompt.setdefault(question.prompt, index)
        if _spaceless(problems.items[index]) != _spaceless(problems.items[twin]):
            reporter.warn(
                "prompt",
                f"{STUDENT}.model",
                f"The student is asked the same for {problems.named(twin)} and "
                f"{problems.named(index)}: its chat template or its tokenizer leaves out where "
                "the questions differ. Choose another model, or turn the template off.",
            )
            return


def _spaceless(problem: Problem) -> list[str]:
    return asked_text(problem, problem.question).split()


def _check_solutions(
    spec: RunSpec, student: TextModel, problems: RoleProblems, reporter: Reporter
) -> None:
    def solution(problem: Problem) -> str:
        return problem.solution

    path = f"{STUDENT}.model"
    problems = check_characters(student, path, problems, "solutions", solution, reporter)
    template, codec = spec.data.prompt, codec_of(spec)

    def encode(index: int) -> Question:
        problem = problems.items[index]
        ids = text_ids(student, problem.solution)
        return Question(problem, ids, question_text(template, problem, codec))

    solutions = attempt_each(path, problems, problems.sampled, encode, solution, reporter)
    longest = max(
        stage.rollouts.generate.sampling.max_new_tokens
        for stage in spec.stages
        if stage.uses_solutions
    )
    # One token is the end.
    cut = [index for index, question in solutions.items() if len(question.prompt) + 1 > longest]
    if cut:
        reporter.warn(
            "length",
            problems.path,
            f"{len(cut):,} of the solutions of {problems.sample_noun} have more than {longest:,} "
            f"tokens, the longest answer, and are cut; the first is that of "
            f"{problems.named(cut[0])}. Raise max_new_tokens, or shorten them.",
        )
