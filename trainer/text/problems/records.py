"""What a problem is, wherever it comes from, and the one error that everything about problems
raises.

Nothing here imports torch: the web page previews problems with the same code that the trainer loads
them with.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Problem:
    """One question with its reference answer.

    `answer` is the short text that a verifier compares with; `solution` is a worked solution, if
    there is one. `domain`, `difficulty` and `tier` group the pass rates of the evaluation; an empty
    string says that the problem has none. `tier` says how hard the problem is for the student of
    the built-in pair (mastered, frontier, hopeless).
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
    """Problems in the order of their source. `fingerprint` names the content, whatever the
    order.
    """

    items: tuple[Problem, ...]
    fingerprint: str
    notes: tuple[str, ...] = field(default=())

    def __len__(self) -> int:
        return len(self.items)


class ProblemError(ValueError):
    """Problems that cannot be used. The message is a sentence: what, where, what to do."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a data file. `number` is its line, or its row where a format has no lines; both
    count from 1.
    """

    number: int
    values: dict[str, Any]
