"""The answers of an evaluation that are kept with its results, so that they can be read later.

Every problem should have some of its answers rather than the first problems all of theirs: runs are
compared on the problems where they differ, which nobody knows before. This module imports without
torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

# Bytes of the texts of one evaluation, as UTF-8; a file of them is about a third of that.
BUDGET = 2**20
# Characters of one text.
LONGEST = 4000


def kept_answer(
    sample: int, verdict: bool | None, truncated: bool, tokens: int, read: str, text: str
) -> dict[str, Any]:
    """One answer as the side file of an `evaluated` event has it.

    `characters` is the length of the whole text; `text` has its first `LONGEST` at most.
    """
    return {
        "sample": sample,
        "verdict": verdict,
        "truncated": truncated,
        "tokens": tokens,
        "read": read[:LONGEST],
        "text": text[:LONGEST],
        "characters": len(text),
    }


@dataclass
class KeptAnswers:
    """Collects the answers problem by problem, within `budget` bytes of text.

    `rows` has one list for each problem. Where all answers do not fit, each problem keeps fewer of
    its first ones; where one of each does not fit either, the last problems keep none.
    """

    budget: int = BUDGET
    rows: list[list[dict[str, Any]]] = field(default_factory=list)
    _most: int | None = None
    _size: int = 0

    def add(self, answers: Sequence[dict[str, Any]]) -> None:
        """Add the answers to the next problem, made by `kept_answer`."""
        self.rows.append(list(answers[: self._most]))
        self._size += _size(self.rows[-1])
        while self._size > self.budget and self._most != 1:
            self._most = max(map(len, self.rows)) - 1 or 1
            self.rows = [row[: self._most] for row in self.rows]
            self._size = sum(map(_size, self.rows))
        if self._size > self.budget:
            self._size -= _size(self.rows[-1])
            self.rows[-1] = []


def _size(answers: Sequence[dict[str, Any]]) -> int:
    return sum(len(answer["text"].encode("utf-8", "replace")) for answer in answers)
