"""The problems that several sources of answers have in common.

Two sources of one set, by its fingerprint, share the ids of problems. Otherwise problems are the
same if their questions are equal after normalisation, with the turns before them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from trainer.text.problems.records import Message, Problem
from trainer.text.problems.selection import normalised
from webapp.comparisons.answer_sources import AnswerSource
from webapp.runs.kept_answers import answered_problems
from webapp.runs.problem_results import per_problem_of
from webapp.runs.problem_texts import questions

# Rollouts of a step that are read: more than a trainer records of one.
MOST_ROLLOUTS = 10_000
MatchedBy = Literal["id", "question", "nothing"]


@dataclass(frozen=True)
class SourceProblems:
    """The problems of a source: the share of right answers by id, and the ids with answers.

    A problem without a verdict has the rate None. The order is that of the source.
    """

    rates: Mapping[str, float | None]
    answered: frozenset[str]


@dataclass(frozen=True)
class MatchedProblem:
    """A problem with its id and rate in each source; `id` is that of the first."""

    ids: tuple[str, ...]
    rates: tuple[float | None, ...]
    is_answered: bool

    @property
    def id(self) -> str:
        return self.ids[0]

    @property
    def difference(self) -> float:
        """The largest difference of two rates, 0 to 1."""
        known = [rate for rate in self.rates if rate is not None]
        return max(known) - min(known) if known else 0.0


@dataclass(frozen=True)
class Matching:
    """How the problems of each source are found by their ids in the first.

    `by` says by what, for each source; `ids` has the ids of each source by those of the first.
    """

    by: tuple[MatchedBy, ...]
    ids: tuple[Mapping[str, str], ...]

    def ids_of(self, problem: str) -> tuple[str | None, ...]:
        """The id in each source of a problem of the first one."""
        return tuple(ids.get(problem) for ids in self.ids)


def problems_of(sources: Sequence[AnswerSource]) -> list[SourceProblems]:
    """Return the problems of each source."""
    evaluations = [source.evaluation for source in sources if source.evaluation is not None]
    rates, kept = per_problem_of(evaluations), answered_problems(evaluations)
    problems: list[SourceProblems] = []
    for source in sources:
        of_rollouts = _rates(source)
        if source.evaluation is None:
            problems.append(SourceProblems(of_rollouts, frozenset(of_rollouts)))
            continue
        answered = kept[source.evaluation.pk] | of_rollouts.keys()
        judged = rates[source.evaluation.pk]
        # A set has no order, and pages must list the problems in the same one each time.
        others = dict.fromkeys(sorted(answered - judged.keys()))
        problems.append(SourceProblems(judged | others, answered))
    return problems


def match(sources: Sequence[AnswerSource], problems: Sequence[SourceProblems]) -> Matching:
    """Match the problems of each source with those of the first."""
    first = sources[0]
    by: list[MatchedBy] = []
    ids: list[Mapping[str, str]] = []
    own_questions: dict[str, str] | None = None
    for source, of_source in zip(sources, problems, strict=True):
        if source is first or (source.fingerprint and source.fingerprint == first.fingerprint):
            by.append("id")
            ids.append({problem: problem for problem in of_source.rates})
            continue
        if own_questions is None:
            own_questions = _ids_by_question(first, problems[0].rates)
        theirs = _ids_by_question(source, of_source.rates)
        pairs = {
            own: theirs[question] for question, own in own_questions.items() if question in theirs
        }
        by.append("question" if pairs else "nothing")
        ids.append(pairs)
    return Matching(tuple(by), tuple(ids))


def common(problems: Sequence[SourceProblems], matching: Matching) -> list[MatchedProblem]:
    """Return the problems that all sources have.

    Those with answers to read in each of them come first, and of these the largest differences.
    """
    rows = []
    for problem in problems[0].rates:
        ids = matching.ids_of(problem)
        if any(name is None for name in ids):
            continue
        names = tuple(name for name in ids if name is not None)
        rows.append(
            MatchedProblem(
                names,
                tuple(
                    of_source.rates[name] for of_source, name in zip(problems, names, strict=True)
                ),
                all(
                    name in of_source.answered
                    for of_source, name in zip(problems, names, strict=True)
                ),
            )
        )
    return sorted(rows, key=lambda row: (not row.is_answered, -row.difference))


def texts_of(source: AnswerSource, ids: Collection[str]) -> dict[str, dict[str, Any]]:
    """Return the rows of the source's set of problems by id, as `problem_texts` does."""
    return questions(source.run, ids, source.fingerprint or None)


def _rates(source: AnswerSource) -> dict[str, float | None]:
    """The share of right answers among the student's recorded rollouts, by problem."""
    verdicts: dict[str, list[bool]] = defaultdict(list)
    rows = source.rollouts.order_by("seq", "offset").values_list("problem", "source", "verdict")
    for problem, author, verdict in rows[:MOST_ROLLOUTS]:
        # Also without a verdict the problem has an answer.
        judged = verdicts[problem]
        if author == "student" and verdict is not None:
            judged.append(verdict)
    return {
        problem: sum(judged) / len(judged) if judged else None
        for problem, judged in verdicts.items()
    }


def _ids_by_question(source: AnswerSource, ids: Iterable[str]) -> dict[str, str]:
    """The ids by normalised question; of copies of a question the first."""
    found: dict[str, str] = {}
    texts = texts_of(source, set(ids))
    for problem in ids:
        if problem in texts:
            found.setdefault(normalised(_asked(texts[problem])), problem)
    return found


def _asked(row: Mapping[str, Any]) -> str:
    history = tuple(
        Message(str(message.get("role") or ""), str(message.get("text") or ""))
        for message in row["history"]
    )
    return Problem(str(row["id"]), str(row.get("question") or ""), "", history=history).asked
