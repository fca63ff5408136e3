"""Holding out: the problems of a file as two files, one to train on and one to measure on.

Which problems are held out depends on the seed and the questions only, and all copies of a question
are on the same side. The choice is independent of that of a run's held-out share
(`selection.split`): a run may hold out a share of either file by the same seed.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterable
from pathlib import Path

from trainer.spec import Columns, FileProblems
from trainer.text.problems import selection
from trainer.text.problems.records import Message, Problem, ProblemError
from trainer.text.problems.sources import stream


def hold_out(
    source: FileProblems, path: Path, questions: int, seed: int, training: Path, held_out: Path
) -> Columns:
    """Write two JSON Lines files; return the columns by which both are read.

    `held_out` has the problems of `questions` questions, `training` all others. The file is read
    twice, with only the ranks of `questions` questions in memory. Raises ProblemError if it cannot
    be read or has no more than that many different questions.
    """
    highest = _highest_rank(stream(source, path), questions, seed, path.name)
    with (
        training.open("w", encoding="utf-8") as training_file,
        held_out.open("w", encoding="utf-8") as held_out_file,
    ):
        for problem in stream(source, path):
            is_held_out = _rank(seed, problem) <= highest
            file = held_out_file if is_held_out else training_file
            file.write(json.dumps(_row(problem), ensure_ascii=False) + "\n")
    return Columns(
        solution="solution",
        history="history",
        id="id",
        domain="domain",
        difficulty="difficulty",
        longest=source.columns.longest,
    )


def _highest_rank(problems: Iterable[Problem], questions: int, seed: int, name: str) -> float:
    """The highest rank of the questions that are held out: those of the lowest ranks."""
    # The ranks of a question's copies are equal, so each counts once. Negated: heapq keeps the
    # least number first, and the highest rank is dropped next.
    lowest: list[float] = []
    kept: set[float] = set()
    is_any_left = False
    for problem in problems:
        rank = _rank(seed, problem)
        if rank in kept:
            continue
        if len(lowest) < questions:
            heapq.heappush(lowest, -rank)
            kept.add(rank)
            continue
        is_any_left = True
        if rank < -lowest[0]:
            kept.add(rank)
            kept.remove(-heapq.heapreplace(lowest, -rank))
    if not is_any_left:
        noun = "question" if len(kept) == 1 else "questions"
        raise ProblemError(
            f"{name} has {len(kept):,} different {noun}, so that holding out {questions:,} leaves "
            "none to train on; hold out fewer"
        )
    return -lowest[0]


def _rank(seed: int, problem: Problem) -> float:
    return selection.rank(seed, "held-out set", problem.asked)


def _row(problem: Problem) -> dict[str, str]:
    """The problem by the names of `Columns`; the history as text, which every format can hold."""
    return {
        "id": problem.id,
        "question": problem.question,
        "answer": problem.answer,
        "solution": problem.solution,
        "domain": problem.domain,
        "difficulty": problem.difficulty,
        "history": (
            json.dumps(list(map(Message._asdict, problem.history)), ensure_ascii=False)
            if problem.history
            else ""
        ),
    }
