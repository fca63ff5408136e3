"""Records of problems, and the error that everything about problems raises.

Imports without torch: the web pages preview problems with the code that the trainer loads them by.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Problem:
    """One question with its reference answer.

    `answer` is the short text that a verifier compares with; `solution` is a worked solution, or
    empty. `domain`, `difficulty` and `tier` group the pass rates of the evaluation; an empty string
    means none. `tier` is the difficulty for the built-in student (mastered, frontier, hopeless).
    """

    id: str
    question: str
    answer: str
    solution: str = ""
    domain: str = ""
    difficulty: str = ""
    tier: str = ""


@dataclass(frozen=True, slots=True)
class ProblemSet:
    """Problems in the order of their source; `fingerprint` is the hash of their content."""

    items: tuple[Problem, ...]
    fingerprint: str
    notes: tuple[str, ...] = field(default=())

    def __len__(self) -> int:
        return len(self.items)


class ProblemError(ValueError):
    """Problems that cannot be used. The message is a sentence: what, where, what to do."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a data file. `number` is its line, or its row in formats without lines, from 1."""

    number: int
    values: dict[str, Any]
