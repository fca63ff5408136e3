"""Records of problems, and the errors that everything about problems raises.

Imports without torch: the web pages preview problems with the code that the trainer loads them by.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Message(NamedTuple):
    """A message before the question; `role` is system, user, assistant or tool."""

    role: str
    text: str


@dataclass(frozen=True, slots=True)
class Problem:
    """One question with its reference answer.

    `answer` is the short text that a verifier compares with; `solution` is a worked solution, or
    empty. `domain`, `difficulty` and `tier` group the pass rates of the evaluation; an empty string
    means none. `tier` is the difficulty for the built-in student (mastered, frontier, hopeless).
    `history` has the messages before the question: a system prompt comes first.
    """

    id: str
    question: str
    answer: str
    solution: str = ""
    domain: str = ""
    difficulty: str = ""
    tier: str = ""
    history: tuple[Message, ...] = ()

    @property
    def asked(self) -> str:
        """The turns before the question, and the question.

        A system prompt is no part of it: the same question under another one is the same question.
        """
        turns = [message.text for message in self.history if message.role != "system"]
        return "\n".join([*turns, self.question])


@dataclass(frozen=True, slots=True)
class ProblemSet:
    """Problems in the order of their source; `fingerprint` is the hash of their content."""

    items: tuple[Problem, ...]
    fingerprint: str
    notes: tuple[str, ...] = field(default=())

    def __len__(self) -> int:
        return len(self.items)


class ProblemError(ValueError):
    """Problems that cannot be used. The message is a sentence: what, where, what to do.

    What it quotes of a file may hold half of a surrogate pair or a NUL, which can be neither sent
    nor stored: `?` takes its place.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message.encode(errors="replace").decode().replace("\0", "?"))


class UnusableRowError(ProblemError):
    """One row that is no problem; `reason` says so in a few words, as in “too long”."""

    def __init__(self, message: str, reason: str = "not readable") -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a data file. `number` is its line, or its row in formats without lines, from 1."""

    number: int
    values: dict[str, Any]
