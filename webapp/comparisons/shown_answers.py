"""The stored answers of several sources to one problem, ready to be shown beside each other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, zip_longest

from webapp.comparisons.answer_sources import AnswerSource
from webapp.runs.kept_answers import KeptAnswer, answers_to
from webapp.runs.models import RolloutRow
from webapp.runs.rollout_tokens import RolloutUnavailable, Token, TokenizedRollout, read_rollouts

# Answers of a column, and tokens or characters of one of them that are shown.
MOST_ANSWERS = 8
MOST_TOKENS = 1500
MOST_CHARACTERS = 8000


@dataclass(frozen=True)
class ShownAnswer:
    """One answer: by tokens where its rollout was recorded, else as text.

    `text` is all that is stored of it, `tokens` are the first of `token_count`. `shared` is how
    many of its characters are also the beginning of the answer that it is compared with, None if
    there is none; `is_same` if both are equal. `note` says what is missing.
    """

    author: str
    verdict: bool | None
    truncated: bool
    length: int
    read: str
    text: str
    tokens: tuple[Token, ...] = ()
    token_count: int = 0
    row: RolloutRow | None = None
    advantage: float | None = None
    question: str = ""
    reference: str = ""
    note: str = ""
    shared: int | None = None
    is_same: bool = False

    @property
    def shared_tokens(self) -> int | None:
        """The number of tokens at the beginning that are shared as a whole."""
        if self.shared is None:
            return None
        ends = accumulate(len(token.text) for token in self.tokens)
        return sum(1 for end in ends if end <= self.shared)

    @property
    def same_text(self) -> str:
        return self.text[: self.shared or 0][:MOST_CHARACTERS]

    @property
    def different_text(self) -> str:
        return self.text[self.shared or 0 : MOST_CHARACTERS]

    @property
    def is_cut(self) -> bool:
        """Whether the page shows less than is stored."""
        if self.tokens:
            return self.token_count > len(self.tokens)
        return len(self.text) > MOST_CHARACTERS


@dataclass(frozen=True)
class SourceAnswers:
    """The first answers of a source to a problem; `count` is how many are stored."""

    answers: tuple[ShownAnswer, ...]
    count: int


def stored_answers(source: AnswerSource, problem: str) -> SourceAnswers:
    """Return the stored answers: the student's before the teacher's, in the order of sampling."""
    rows = source.rollouts.filter(problem=problem).order_by("source", "sample", "seq", "offset")
    recorded = _with_tokens(source, rows[:MOST_ANSWERS])
    kept = answers_to(source.evaluation, problem) if source.evaluation else []
    if not kept:
        return SourceAnswers(tuple(recorded), rows.count())
    by_sample = {answer.row.sample: answer for answer in recorded if answer.row is not None}
    shown = [
        by_sample.get(answer.sample) or _from_text(answer)
        for answer in sorted(kept, key=lambda answer: answer.sample)[:MOST_ANSWERS]
    ]
    return SourceAnswers(tuple(shown), len(kept))


def beside_each_other(columns: Sequence[SourceAnswers]) -> list[tuple[ShownAnswer | None, ...]]:
    """Return rows of one answer from each column: the first of each author, the second, and so on.

    Each answer is compared with the first one of its row, and that with the one which shares the
    longest beginning with it.
    """
    rows: list[tuple[ShownAnswer | None, ...]] = []
    for author in ("student", "teacher"):
        of_author = [
            [answer for answer in column.answers if answer.author == author] for column in columns
        ]
        rows += [_compared(row) for row in zip_longest(*of_author)]
    return rows


def _compared(row: Sequence[ShownAnswer | None]) -> tuple[ShownAnswer | None, ...]:
    first = next(answer for answer in row if answer is not None)
    others = [answer for answer in row if answer is not None and answer is not first]
    most = max((_shared(first.text, other.text) for other in others), default=None)
    return tuple(
        None
        if answer is None
        else replace(answer, shared=most)
        if answer is first
        else replace(
            answer,
            shared=_shared(first.text, answer.text),
            is_same=first.text == answer.text,
        )
        for answer in row
    )


def _shared(a: str, b: str) -> int:
    """The number of characters at the beginning that both have."""
    pairs = zip(a, b, strict=False)
    return next((i for i, (x, y) in enumerate(pairs) if x != y), min(len(a), len(b)))


def _with_tokens(source: AnswerSource, rows: Iterable[RolloutRow]) -> list[ShownAnswer]:
    rows = list(rows)
    rollouts = read_rollouts(source.run, rows)
    return [_from_rollout(row, rollout) for row, rollout in zip(rows, rollouts, strict=True)]


def _from_rollout(row: RolloutRow, rollout: TokenizedRollout | RolloutUnavailable) -> ShownAnswer:
    author = "teacher" if row.source == "teacher" else "student"
    if isinstance(rollout, RolloutUnavailable):
        return ShownAnswer(
            *(author, row.verdict, row.truncated, row.length, "", row.excerpt),
            row=row,
            note=f"{rollout} This is its beginning.",
        )
    advantages = {token.values["advantage"] for token in rollout.tokens} - {None}
    return ShownAnswer(
        author,
        row.verdict,
        row.truncated,
        row.length,
        rollout.answer,
        "".join(token.text for token in rollout.tokens) or rollout.text,
        tuple(rollout.tokens[:MOST_TOKENS]),
        len(rollout.tokens),
        row,
        advantage=advantages.pop() if len(advantages) == 1 else None,
        question=rollout.question,
        reference=rollout.reference,
    )


def _from_text(answer: KeptAnswer) -> ShownAnswer:
    missing = answer.characters - len(answer.text)
    return ShownAnswer(
        "student",
        answer.verdict,
        answer.truncated,
        answer.tokens,
        answer.read,
        answer.text,
        note=f"The last {missing:,} characters are not stored." if missing > 0 else "",
    )
