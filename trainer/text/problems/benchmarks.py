"""Multiple-choice rows of benchmarks as questions whose answer is a letter.

A row has a question, choices and the right one: in MMLU its index from 0, in MMLU-Pro its letter,
in ARC a separate label, elsewhere its place from 1 or its text. How a file names it is decided once
from all of its rows, because a single row cannot tell: 1 is the second choice of MMLU. The
choices are a list, a list in JSON or in Python's notation in a cell of a CSV file, or
`{"text": […], "label": […]}`. The resulting question:

    Which is even?
    A. one
    B. two

GSM8K, MATH-500 and AIME rows do not need this: mapping.py recognises their columns by name, and
GSM8K's answers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from string import ascii_lowercase, ascii_uppercase
from typing import Any

from trainer.spec.data import ChoiceAnswers
from trainer.text.problems.addresses import opened
from trainer.text.problems.records import ProblemError

Choices = tuple[list[str], list[str]]


def multiple_choice(
    question: str, value: Any, answer: str, where: str, answers: ChoiceAnswers = "auto"
) -> tuple[str, str]:
    """The question followed by its choices, and the letter of the right one.

    `answers` says how `answer` names it; auto tries letter, index from 0 and text in this order. An
    empty question or answer stays empty. Raises ProblemError, which names the row by `where`.
    """
    texts, labels = _choices(value, where)
    if not 2 <= len(texts) <= len(ascii_uppercase):
        raise ProblemError(
            f"{where} has {len(texts)} choices; a question needs 2 to {len(ascii_uppercase)}"
        )
    listed = "\n".join(
        f"{letter}. {text}" for letter, text in zip(ascii_uppercase, texts, strict=False)
    )
    return f"{question}\n{listed}" if question else "", _letter(
        answer.strip(), texts, labels, where, answers
    ) if answer.strip() else ""


def decide_choice_answers(rows: Iterable[tuple[Any, str]]) -> ChoiceAnswers:
    """How the rows name their right choices: the way that fits most of (choices, answer).

    Of ways that fit equally well the first counts: letters, texts, places from 0, places from 1.
    Rows whose choices cannot be read say nothing. "letters" if there are no rows.
    """
    fits: Counter[ChoiceAnswers] = Counter()
    for value, answer in rows:
        try:
            texts, labels = _choices(value, "")
        except ProblemError:
            continue
        for answers, names in _names(texts, labels).items():
            fits[answers] += any(answer.strip() in group for group in names)
    return max(ORDER, key=lambda answers: fits[answers])


# The order in which equally good ways count. A place from 0 and a place from 1 fit equally well
# only where no row says 0 and none says the number of its choices.
ORDER: tuple[ChoiceAnswers, ...] = ("letters", "texts", "from_0", "from_1")


def letter_of_place(answer: str, answers: ChoiceAnswers) -> str:
    """The letter of a place from 0 or from 1; any other text unchanged."""
    text = answer.strip().removesuffix(".0")
    place = int(text) - (answers == "from_1") if text.isdecimal() and len(text) < 3 else -1
    return ascii_uppercase[place] if 0 <= place < len(ascii_uppercase) else answer


def _names(texts: list[str], labels: list[str]) -> dict[ChoiceAnswers, tuple[list[str], ...]]:
    """The names of the choices of a row, by the way of naming them."""
    count = len(texts)
    upper, lower = ascii_uppercase[:count], ascii_lowercase[:count]
    return {
        "letters": (labels, list(upper), list(lower), [f"({letter})" for letter in upper]),
        "texts": (texts,),
        "from_0": ([str(index) for index in range(count)],),
        "from_1": ([str(index + 1) for index in range(count)],),
    }


def _letter(
    answer: str, texts: list[str], labels: list[str], where: str, answers: ChoiceAnswers
) -> str:
    names = _names(texts, labels)
    # Whole numbers of a Parquet column with gaps are written as 2.0.
    answer = answer.removesuffix(".0") if answers in ("from_0", "from_1") else answer
    tried = [*names["letters"], *names["from_0"], *names["texts"]]
    for group in tried if answers == "auto" else names[answers]:
        if answer in group:
            return ascii_uppercase[group.index(answer)]
    ways = {
        "letters": "give its letter",
        "texts": "give its text",
        "from_0": "give its place, from 0",
        "from_1": "give its place, from 1",
        "auto": "give its index from 0 or its letter",
    }
    raise ProblemError(
        f"{where} has the answer “{answer[:40]}”, which is none of its {len(texts)} choices; "
        f"{ways[answers]}"
    )


def _choices(value: Any, where: str) -> Choices:
    """Texts and labels; the labels are empty if the row has none."""
    value = opened(value)
    grouped: dict[str, Any] = value if isinstance(value, dict) else {"text": value}
    texts, labels = grouped.get("text", []), grouped.get("label", [])
    if not _is_plain(texts) or not _is_plain(labels):
        raise ProblemError(
            f'{where} has no list of choices; give one, as in ["one", "two"], '
            "or choose another column"
        )
    return _stripped(texts), _stripped(labels)


def _is_plain(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str | int | float) for item in value)


def _stripped(values: list[Any]) -> list[str]:
    return [str(value).strip() for value in values]
