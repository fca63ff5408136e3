"""Which rollouts are kept to be read, and how: a side file with every token's signals, and an index in the event log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from trainer.engine.loop import Runtime
from trainer.text import side_files
from trainer.text.answers import Answer
from trainer.text.models import LanguageModel
from trainer.text.objectives.distillation import TokenStatistics
from trainer.text.tokenizers import pieces

EXCERPT = 240


@dataclass(frozen=True)
class Signals:
    """Per-token lists over an answer; the two tops are each model's likeliest token, as text."""

    student_logprob: list[float]
    teacher_logprob: list[float]
    divergence: list[float]
    entropy: list[float]
    student_top: list[str]
    teacher_top: list[str]


def signals_of(model: LanguageModel, statistics: TokenStatistics) -> Signals:
    """The statistics of one answer as lists."""
    return Signals(
        statistics.student_logprob.tolist(),
        statistics.teacher_logprob.tolist(),
        statistics.divergence.tolist(),
        statistics.entropy.tolist(),
        pieces(model, statistics.student_top.tolist()),
        pieces(model, statistics.teacher_top.tolist()),
    )


def record(
    rt: Runtime, model: LanguageModel, role: str, answers: Sequence[Answer], of: int,
    signals: Sequence[Signals] | None = None, weights: Sequence[float] | None = None,
) -> None:  # fmt: skip
    """Write a side file of `answers`, kept out of `of`, and the event that names it."""
    rows = [_row(model, answer, signals[at] if signals else None, weights[at] if weights else None) for at, answer in enumerate(answers)]
    file = side_files.write(rt.folder / "side", side_files.rollout_table(rows))
    rt.emit("rollouts", stage=rt.stage, role=role, file=file, kept=len(rows), of=of, index=[_entry(row) for row in rows])


def spread(answers: Sequence[Answer], limit: int) -> list[Answer]:
    """At most `limit` answers, evenly spaced."""
    step = max(1, -(-len(answers) // limit))
    return list(answers[::step])


def _row(model: LanguageModel, answer: Answer, signals: Signals | None, weight: float | None) -> dict[str, Any]:
    return {
        "problem": answer.problem.id,
        "question": answer.problem.question,
        "reference": answer.problem.answer,
        "sample": answer.sample,
        "source": answer.source,
        "prompt_ids": list(answer.prompt),
        "ids": list(answer.ids),
        "tokens": pieces(model, answer.ids),
        "text": answer.text,
        "answer": answer.read,
        "verdict": answer.verdict,
        "truncated": answer.truncated,
        "weight": weight,
        **(_author_signals(answer) if signals is None else vars(signals)),
    }


def _author_signals(answer: Answer) -> dict[str, Any]:
    """What sampling alone tells: its author's log-probabilities and entropies."""
    logprobs = None if answer.logprobs is None else answer.logprobs.tolist()
    entropies = None if answer.entropies is None else answer.entropies.tolist()
    return {f"{answer.source}_logprob": logprobs, "entropy": entropies if answer.source == "student" else None}


def _entry(row: dict[str, Any]) -> dict[str, Any]:
    divergence = row.get("divergence")
    return {
        **{name: row[name] for name in ("problem", "source", "sample", "verdict", "truncated", "weight")},
        "length": len(row["ids"]),
        "divergence": sum(divergence) / len(divergence) if divergence else None,
        "excerpt": row["text"][:EXCERPT],
    }
