"""Counts of a job's results that add up: a data set's tally is the sum of its parts' tallies.

A part's result is a file of JSON lines, one for each problem, in the order of the data set:

    {"place": 17, "id": …, "question": …, "reference": …, "domain": …, "difficulty": …,
     "answers": [ANSWER, …]}
    ANSWER = {"verdict": true | false | null, "truncated": …, "tokens": …, "read": …,
              "confidence": …, "malformed": …, "text": …, "set_aside": …, "scores": …,
              "tokenizer": …}

`confidence` and `malformed` are present where answers state a confidence, `text` where texts are
kept, and `set_aside` with the reason where an endpoint gave no answer. `scores` (`score_files`)
and the fingerprint of the `tokenizer` are those of a solution that the model has read.

This module imports without torch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from trainer.text.calibration.summary import summarise
from trainer.text.evaluation import intervals
from trainer.text.evaluation.intervals import Counts, Interval

Row = Mapping[str, Any]
Rates = Counter[tuple[int, int]]

# Bins of answer lengths to a factor of two.
FINEST = 4


@dataclass(frozen=True)
class Tally:
    """Counts over problems and answers.

    `rates` counts problems by (passed, verdicts); `groups` does so by (kind of group, its name).
    `lengths` counts answers by length bin, `stated` judged answers by (confidence or None, right).
    """

    problems: int = 0
    answers: int = 0
    truncated: int = 0
    tokens: int = 0
    longest: int = 0
    rates: Rates = field(default_factory=Counter)
    groups: Mapping[tuple[str, str], Rates] = field(default_factory=dict)
    lengths: Counter[int] = field(default_factory=Counter)
    stated: Counter[tuple[float | None, bool]] = field(default_factory=Counter)
    malformed: Counter[str] = field(default_factory=Counter)

    def __add__(self, other: Tally) -> Tally:
        groups = {
            key: self.groups.get(key, Counter()) + other.groups.get(key, Counter())
            for key in {**self.groups, **other.groups}
        }
        return Tally(
            self.problems + other.problems,
            self.answers + other.answers,
            self.truncated + other.truncated,
            self.tokens + other.tokens,
            max(self.longest, other.longest),
            self.rates + other.rates,
            groups,
            self.lengths + other.lengths,
            self.stated + other.stated,
            self.malformed + other.malformed,
        )

    @property
    def counts(self) -> tuple[Counts, Counts]:
        """(passed, verdicts) of every problem, sorted by these pairs."""
        return counts_of(self.rates)

    @property
    def pass_rate(self) -> tuple[float, Interval]:
        """The pass rate with its 95 % interval over problems; NaN without a verdict."""
        return intervals.pass_rate(*self.counts)

    def pass_at(self, k: int) -> float:
        return intervals.pass_at(k, *self.counts)

    def share(self, tier: str) -> float:
        """Share of the judged problems in a tier: mastered, frontier or hopeless."""
        judged = sum(count for (_, verdicts), count in self.rates.items() if verdicts)
        in_tier = sum(count for pair, count in self.rates.items() if tier_of(*pair) == tier)
        return in_tier / judged if judged else float("nan")

    def calibration(self) -> dict[str, Any]:
        """The fields of a `calibration` event for stated confidences."""
        # None cannot be compared with numbers, so the flag comes first.
        pairs = sorted(
            self.stated.items(),
            key=lambda item: (item[0][0] is not None, item[0][0] or 0.0, item[0][1]),
        )
        confidence = [value for (value, _), count in pairs for _ in range(count)]
        correct = [right for (_, right), count in pairs for _ in range(count)]
        return summarise("stated", confidence, correct, list(self.malformed.elements()))

    def to_json(self) -> dict[str, Any]:
        return {
            "problems": self.problems,
            "answers": self.answers,
            "truncated": self.truncated,
            "tokens": self.tokens,
            "longest": self.longest,
            "rates": _listed(self.rates),
            "groups": [[*key, _listed(rates)] for key, rates in sorted(self.groups.items())],
            "lengths": sorted(self.lengths.items()),
            "stated": [[*pair, count] for pair, count in self.stated.items()],
            "malformed": sorted(self.malformed.items()),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Tally:
        return cls(
            data["problems"],
            data["answers"],
            data["truncated"],
            data["tokens"],
            data["longest"],
            _counted(data["rates"]),
            {(by, name): _counted(rates) for by, name, rates in data["groups"]},
            Counter(dict(data["lengths"])),
            Counter({(value, right): count for value, right, count in data["stated"]}),
            Counter(dict(data["malformed"])),
        )


def tally(rows: Iterable[Row]) -> Tally:
    """The summed counts of some problems."""
    return sum(map(_of_problem, rows), Tally())


def tier_of(passed: int, verdicts: int) -> str:
    """A problem's tier for the model; empty where no answer could be judged."""
    return (
        ""
        if not verdicts
        else "mastered"
        if passed == verdicts
        else "frontier"
        if passed
        else "hopeless"
    )


def counts_of(rates: Rates) -> tuple[Counts, Counts]:
    # Sorted, because a sum of floats depends on its order and parts of a job finish in any order.
    pairs = [pair for pair, count in sorted(rates.items()) for _ in range(count)]
    table = np.array(pairs, np.int64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def length_bin(tokens: int) -> int:
    """The bin of an answer's length.

    Bins grow by a factor of 2 in `FINEST` steps; bin b begins at `bin_begins(b)`.
    """
    # 1e-9 absorbs rounding, so that exact powers fall into the bin that they begin.
    return int(np.floor(FINEST * np.log2(max(1, tokens)) + 1e-9))


def bin_begins(number: int) -> int:
    return int(np.ceil(2 ** (number / FINEST) - 1e-9))


def _of_problem(row: Row) -> Tally:
    answers = row["answers"]
    verdicts = [answer["verdict"] for answer in answers if answer["verdict"] is not None]
    rates: Rates = Counter({(sum(verdicts), len(verdicts)): 1})
    stating = [answer for answer in answers if "confidence" in answer]
    return Tally(
        problems=1,
        answers=len(answers),
        truncated=sum(answer["truncated"] for answer in answers),
        tokens=sum(answer["tokens"] for answer in answers),
        longest=max((answer["tokens"] for answer in answers), default=0),
        rates=rates,
        groups={(by, row[by]): rates for by in ("domain", "difficulty") if row[by]},
        lengths=Counter(length_bin(answer["tokens"]) for answer in answers),
        stated=Counter(
            (answer["confidence"], answer["verdict"])
            for answer in stating
            if answer["verdict"] is not None
        ),
        malformed=Counter(answer["malformed"] for answer in stating),
    )


def _listed(rates: Rates) -> list[list[int]]:
    return [[*pair, count] for pair, count in sorted(rates.items())]


def _counted(listed: Iterable[Any]) -> Rates:
    return Counter({(passed, verdicts): count for passed, verdicts, count in listed})
