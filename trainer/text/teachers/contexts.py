"""The teacher's privileged text, and how question and text become its prompt.

A teacher with a privileged text knows more than the student; self-distillation learns from the
difference (PACED, arXiv 2603.11178; OPSD, arXiv 2601.18734, figure 2; CaOPD, arXiv 2604.16830,
appendix B.3). Each role has its own chat template and thinking mode. The completion itself is never
encoded again: a teacher's row is (its own prompt, the student's ids).

A prompt that does not fit the model is not cut at its end, where the request to answer is, nor in
the question: the privileged text loses its middle, marked by an ellipsis, until the prompt fits.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from trainer.spec.networks import Context, PrivilegedContext
from trainer.text.language.chat import check_length, prompt_ids, text_ids
from trainer.text.language.model_folders import ModelError
from trainer.text.language.text_models import TextModel
from trainer.text.problems import Problem, ProblemError
from trainer.text.rollouts.questions import Answer, Question

# The first one that the tokenizer knows marks where something was left out.
ELLIPSES = ("…", "...")
COLUMNS = {"solution": "solution", "demonstration": "solution", "answer": "answer"}


def privileged_text(
    context: Context,
    problem: Problem,
    student_answer: Answer | None = None,
    group: Sequence[Answer] = (),
) -> str:
    """The text that the teacher of one answer is shown; empty where the context is plain.

    `student_answer` is the answer that the teacher reads, `group` this step's answers to the same
    problem. A demonstration is an accepted answer of the group, preferably not `student_answer`
    itself; without one it is the worked solution. Feedback is `student_answer` with its verdict as
    a sentence.
    """
    if not isinstance(context, PrivilegedContext):
        return ""
    if context.shows == "answer":
        return problem.answer
    if context.shows == "feedback":
        return _feedback(student_answer) if student_answer is not None else ""
    accepted = (
        [answer for answer in group if answer.verdict] if context.shows == "demonstration" else []
    )
    best = next(
        (answer for answer in accepted if answer is not student_answer), next(iter(accepted), None)
    )
    return best.text if best is not None else problem.solution


def require_privileged(context: Context, problems: Sequence[Problem]) -> None:
    """Raise ProblemError if problems lack the text that the teacher must be shown."""
    if not isinstance(context, PrivilegedContext) or context.shows not in COLUMNS:
        return
    column = COLUMNS[context.shows]
    without = [problem.id for problem in problems if not getattr(problem, column).strip()]
    if without:
        raise ProblemError(
            f"{len(without)} of {len(problems)} training problems (the first is {without[0]}) "
            f"have no {column}, so the teacher's "
            f"context cannot show it; map data.train.columns.{column} and fill the gaps, or "
            "choose another networks.teacher.context.shows"
        )


def prompt_text(context: Context, question: str, privileged: str, note: str = "") -> str:
    """The text of the teacher's prompt.

    `note` follows the privileged text, or the question where the context is plain.
    """
    if not isinstance(context, PrivilegedContext):
        return _paragraphs(question, note)
    # Both fields are filled in one pass, so that a question that contains “{privileged}” stays as
    # it is.
    fields = {"{question}": question, "{privileged}": _paragraphs(privileged, note)}
    return re.sub(r"\{question\}|\{privileged\}", lambda match: fields[match[0]], context.template)


@dataclass(frozen=True)
class PromptFormatter:
    """Makes prompts of at most `language_model.max_length − longest` tokens.

    `longest` is the longest answer in tokens. Privileged texts have at most `context.most_tokens`,
    counted by themselves.
    """

    language_model: TextModel
    context: Context
    longest: int

    def prompt(self, question: Question, privileged: str, note: str = "") -> tuple[int, ...]:
        """Token ids of the teacher's prompt.

        Raises ModelError if it does not fit even without privileged text.
        """
        shortened_text = cut_to_fit(
            privileged, lambda text: self.fits(question, text, note), _mark(self.language_model)
        )
        ids = self.encoded(question, shortened_text, note)
        check_length(self.language_model, ids, self.longest)
        return ids

    def shows_all(self, question: Question) -> bool:
        """Whether the problem's own privileged text fits without shortening."""
        return self.fits(question, privileged_text(self.context, question.problem))

    def fits(self, question: Question, privileged: str, note: str = "") -> bool:
        """Whether the privileged text fits without shortening."""
        if isinstance(self.context, PrivilegedContext) and not fits_tokens(
            self.language_model, privileged, self.context.most_tokens
        ):
            return False
        return (
            len(self.encoded(question, privileged, note)) + self.longest
            <= self.language_model.max_length
        )

    def encoded(self, question: Question, privileged: str, note: str = "") -> tuple[int, ...]:
        """Token ids of the prompt with the text as it is, of any length."""
        return prompt_ids(
            self.language_model,
            prompt_text(self.context, question.text, privileged, note),
            question.problem.history,
        )


def fits_tokens(language_model: TextModel, text: str, most_tokens: int) -> bool:
    """Whether the text by itself has at most that many tokens."""
    return len(text_ids(language_model, text)) <= most_tokens


def shorten_to_limit(language_model: TextModel, context: Context, privileged: str) -> str:
    """Shorten the privileged text to `context.most_tokens` of this model's tokenizer."""
    if not isinstance(context, PrivilegedContext):
        return privileged
    return cut_to_fit(
        privileged,
        lambda text: fits_tokens(language_model, text, context.most_tokens),
        _mark(language_model),
    )


def cut_to_fit(text: str, fits: Callable[[str], bool], mark: str) -> str:
    """The text, or as much of its two ends around `mark` as fits; empty if nothing fits.

    Found by bisection over characters.
    """
    if fits(text):
        return text
    length, too_long = 0, len(text)
    # `length` always fits. A tokenizer may need fewer tokens for a longer text, so bisection can
    # miss a slightly longer one, but never returns one that is too long.
    while too_long - length > 1:
        middle = (length + too_long) // 2
        length, too_long = (
            (middle, too_long) if fits(_ends_of(text, middle, mark)) else (length, middle)
        )
    return _ends_of(text, length, mark) if length else ""


def _ends_of(text: str, length: int, mark: str) -> str:
    return f"{text[: length - length // 2]}{mark}{text[len(text) - length // 2 :]}"


def _mark(language_model: TextModel) -> str:
    for mark in ELLIPSES:
        try:
            text_ids(language_model, mark)
        except ModelError:
            continue
        return mark
    return ""


def _paragraphs(*texts: str) -> str:
    return "\n\n".join(text for text in texts if text)


def _feedback(answer: Answer) -> str:
    if answer.truncated:
        verdict = "This answer was cut off before its end."
    elif answer.verdict is None:
        verdict = "Whether this answer is right could not be told."
    else:
        verdict = "This answer is right." if answer.verdict else "This answer is wrong."
    return _paragraphs(answer.text, verdict)
