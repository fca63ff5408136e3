"""Recorded rollouts: a side file with every token's signals, and an index in the event log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from trainer.engine.loop import Runtime
from trainer.text.language.models import LanguageModel
from trainer.text.language.tokenizers import token_texts
from trainer.text.lm_head.linear_divergence import TokenScores, TokenStatistics
from trainer.text.recording import side_files
from trainer.text.rollouts.questions import Answer
from trainer.text.rollouts.records import TrainRow

# Characters of an answer in the event's index; the whole text is in the side file.
EXCERPT = 240

Numbers = list[float | None]


@dataclass(frozen=True)
class Signals:
    """Per-token lists over an answer, None where a token was not computed.

    `student_top` and `teacher_top` are each model's likeliest token, as text.
    """

    student_logprob: Numbers
    teacher_logprob: Numbers
    divergence: Numbers
    entropy: Numbers
    student_top: list[str]
    teacher_top: list[str]


def token_signals(model: LanguageModel, statistics: TokenStatistics | TokenScores) -> Signals:
    """Convert one answer's token statistics or scores to lists."""
    return Signals(
        _numbers(statistics.student_logprob),
        _numbers(statistics.teacher_logprob),
        _numbers(statistics.divergence),
        _numbers(statistics.entropy),
        _top_texts(model, statistics.student_top),
        _top_texts(model, statistics.teacher_top),
    )


def record_answers(
    rt: Runtime,
    model: LanguageModel,
    role: str,
    answers: Sequence[Answer],
    of: int,
    signals: Sequence[Signals] | None = None,
) -> None:
    """Write a side file of `answers`, selected from `of`, and the event that names it."""
    _write(
        rt,
        role,
        of,
        [
            _row(model, answer, signals[index] if signals else None)
            for index, answer in enumerate(answers)
        ],
    )


def record_train_rows(
    rt: Runtime, model: LanguageModel, rows: Sequence[TrainRow], of: int, signals: Sequence[Signals]
) -> None:
    """Write a side file of rows that were trained on, with how each token was trained."""
    _write(
        rt,
        "train",
        of,
        [
            {**_row(model, row.answer, row_signals), **_training_columns(row)}
            for row, row_signals in zip(rows, signals, strict=True)
        ],
    )


def _write(rt: Runtime, role: str, of: int, rows: list[dict[str, Any]]) -> None:
    file = side_files.write(rt.folder / "side", side_files.rollout_table(rows))
    rt.emit(
        "rollouts",
        stage=rt.stage,
        role=role,
        file=file,
        kept=len(rows),
        of=of,
        index=[_index_entry(row) for row in rows],
    )


def _training_columns(row: TrainRow) -> dict[str, Any]:
    return {
        "weight": row.weight,
        "teacher_prompt_ids": list(row.teacher_prompt),
        "kind": row.kinds.tolist(),
        "coefficient": row.coefficients.tolist(),
        "advantage": None if row.advantages is None else row.advantages.tolist(),
        "confidence": row.confidence,
        "target_confidence": row.target_confidence,
        "edited": row.edited,
        "pair": row.pair,
        "side": row.side,
    }


def _numbers(values_T: Tensor) -> Numbers:
    # NaN is not equal to itself, and JSON has no NaN.
    return [None if value != value else value for value in values_T.tolist()]


def _top_texts(model: LanguageModel, ids_T: Tensor) -> list[str]:
    ids = ids_T.tolist()
    texts = iter(token_texts(model, [id for id in ids if id >= 0]))
    return [next(texts) if id >= 0 else "" for id in ids]


def evenly_spaced(answers: Sequence[Answer], limit: int) -> list[Answer]:
    """At most `limit` answers, evenly spaced."""
    # Ceiling division, so that at most `limit` answers remain.
    step = max(1, -(-len(answers) // limit))
    return list(answers[::step])


def _row(model: LanguageModel, answer: Answer, signals: Signals | None) -> dict[str, Any]:
    return {
        "problem": answer.problem.id,
        "question": answer.problem.question,
        "reference": answer.problem.answer,
        "sample": answer.sample,
        "source": answer.source,
        "prompt_ids": list(answer.prompt),
        "ids": list(answer.ids),
        "tokens": token_texts(model, answer.ids),
        "text": answer.text,
        "answer": answer.read,
        "verdict": answer.verdict,
        "truncated": answer.truncated,
        **(_author_signals(answer) if signals is None else vars(signals)),
    }


def _author_signals(answer: Answer) -> dict[str, Any]:
    """What sampling alone records: the author's log-probabilities and entropies."""
    logprobs = None if answer.logprobs is None else answer.logprobs.tolist()
    entropies = None if answer.entropies is None else answer.entropies.tolist()
    return {
        f"{answer.source}_logprob": logprobs,
        # The column is the student's entropy, which is not computed for a teacher's answer.
        "entropy": entropies if answer.source == "student" else None,
    }


def _index_entry(row: dict[str, Any]) -> dict[str, Any]:
    divergence = [value for value in row.get("divergence") or () if value is not None]
    return {
        **{
            name: row.get(name)
            for name in ("problem", "source", "sample", "verdict", "truncated", "weight")
        },
        "length": len(row["ids"]),
        "divergence": sum(divergence) / len(divergence) if divergence else None,
        "excerpt": row["text"][:EXCERPT],
    }
