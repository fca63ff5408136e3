"""Multiple-choice rows of benchmarks as questions whose answer is a letter.

A row has a question, choices and the right one: in MMLU its index from 0, in MMLU-Pro its letter,
in ARC a separate label. The choices are a list, a JSON list in a cell of a CSV file, or
`{"text": […], "label": […]}`. The resulting question:

    Which is even?
    A. one
    B. two

GSM8K, MATH-500 and AIME rows do not need this: mapping.py recognises their columns by name, and
GSM8K's answers.
"""

from __future__ import annotations

import json
from string import ascii_uppercase
from typing import Any

from trainer.text.problems.records import ProblemError

Choices = tuple[list[str], list[str]]


def multiple_choice(question: str, value: Any, answer: str, where: str) -> tuple[str, str]:
    """The question followed by its choices, and the letter of the right one.

    `answer` is its label, index from 0, letter or text, tried in this order. An empty question or
    answer stays empty. Raises ProblemError, which names the row by `where`.
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
        answer.strip(), texts, labels, where
    ) if answer.strip() else ""


def _letter(answer: str, texts: list[str], labels: list[str], where: str) -> str:
    count = len(texts)
    for names in (
        labels,
        [str(index) for index in range(count)],
        list(ascii_uppercase[:count]),
        texts,
    ):
        if answer in names:
            return ascii_uppercase[names.index(answer)]
    raise ProblemError(
        f"{where} has the answer “{answer[:40]}”, which is none of its {count} choices; "
        "give its index from 0 or its letter"
    )


def _choices(value: Any, where: str) -> Choices:
    """Texts and labels; the labels are empty if the row has none."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (json.JSONDecodeError, RecursionError):
            value = None
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
