"""Preference pairs: a chosen and a rejected answer to one problem, and the rows made of them.

A pair is left out, and counted with the reason, where nothing could be learnt from it: an answer
was cut or is empty, or both are the same text. No verifier filters pairs (SODA, arXiv 2604.03873,
section 2.3): the chosen answers are better because their author is.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from trainer.text.rollouts.questions import Answer
from trainer.text.rollouts.records import PREFERENCE, Prompt, Side, TrainRow


@dataclass(frozen=True, eq=False)
class Pair:
    """The pair `number` of the problem at `problem`, an index of the pool."""

    problem: int
    number: int
    chosen: Answer
    rejected: Answer


def pairs_of(
    problem: int, chosen: Sequence[Answer], rejected: Sequence[Answer]
) -> tuple[list[Pair], Counter[str]]:
    """Return the pairs of a problem, and how many were left out for which reason.

    Every rejected answer makes one pair; chosen answers are used in turn.
    """
    if not chosen or not rejected:
        return [], Counter({f"no {'rejected' if chosen else 'chosen'} answer": 1})
    pairs, left_out = [], Counter[str]()
    for number, answer in enumerate(rejected):
        pair = Pair(problem, number, chosen[number % len(chosen)], answer)
        if reason := _reason_to_leave_out(pair):
            left_out[reason] += 1
        else:
            pairs.append(pair)
    return pairs, left_out


def _reason_to_leave_out(pair: Pair) -> str:
    for name, answer in (("chosen", pair.chosen), ("rejected", pair.rejected)):
        if answer.truncated:
            return f"the {name} answer was cut"
        if not normalised(answer.text):
            return f"the {name} answer is empty"
    same = normalised(pair.chosen.text) == normalised(pair.rejected.text)
    return "both answers are the same" if same else ""


def normalised(text: str) -> str:
    """The text in one Unicode form, without extra white space."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def pair_rows(
    prompts: Sequence[Prompt],
    pairs: Sequence[Sequence[Pair]],
    references: Sequence[Sequence[tuple[float, float]]],
) -> list[TrainRow]:
    """Return two rows for each pair, the chosen answer first.

    `pairs` and their `references`, the log-probs of both answers when the stage began, are given
    for each prompt.
    """
    rows: list[TrainRow] = []
    for owner, (prompt, of_problem, logprobs) in enumerate(
        zip(prompts, pairs, references, strict=True)
    ):
        for pair, (chosen, rejected) in zip(of_problem, logprobs, strict=True):
            number = len(rows) // 2
            arguments = owner, len(of_problem), prompt.weight, number
            rows.append(_row(pair.chosen, *arguments, "chosen", chosen))
            rows.append(_row(pair.rejected, *arguments, "rejected", rejected))
    return rows


def _row(
    answer: Answer,
    owner: int,
    siblings: int,
    weight: float,
    pair: int,
    side: Side,
    reference: float,
) -> TrainRow:
    return TrainRow(
        answer,
        owner,
        siblings,
        weight,
        "",
        (),
        np.full(len(answer.ids), PREFERENCE, np.int8),
        np.ones(len(answer.ids), np.float32),
        pair=pair,
        side=side,
        reference_answer_logprob=reference,
    )


def units_by_length(rows: Sequence[TrainRow]) -> list[list[int]]:
    """Return the indices of rows that must stay together, longest first: each pair, else one row.

    Ranks then get shares of similar size.
    """
    units: dict[tuple[str, int], list[int]] = {}
    for index, row in enumerate(rows):
        key = ("row", index) if row.pair is None else ("pair", row.pair)
        units.setdefault(key, []).append(index)
    return sorted(
        units.values(), key=lambda unit: -max(len(rows[index].answer.ids) for index in unit)
    )


def describe_pairs(count: int, left_out: Counter[str]) -> str:
    """Return what the log says about the pairs of a stage."""
    sentence = f"The stage learns from {count:,} pairs."
    if not left_out:
        return sentence
    reasons = ", ".join(f"{reason}: {number:,}" for reason, number in sorted(left_out.items()))
    return f"{sentence} {sum(left_out.values()):,} are left out ({reasons})."


def texts_of(pairs: Iterable[Pair]) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """The (prompt, answer) ids of both answers of each pair, the chosen one first."""
    return [
        (answer.prompt, answer.ids) for pair in pairs for answer in (pair.chosen, pair.rejected)
    ]
