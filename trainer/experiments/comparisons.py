"""What a comparison of two checkpoints, or of two settings over seeds, allows to say.

Two checkpoints are compared problem by problem (`paired_problems`). Settings are compared over the
seeds that both have: D_s is the difference for seed s, and the t-interval is over D_s. Without
shared seeds the interval is Welch's. Fewer than three seeds a side say nothing about settings.

A verdict follows from the interval at 1 − 0.05 / m (Bonferroni, m comparisons with the same
baseline) and from the smallest difference of interest δ, which is stated beforehand:

    excludes 0                              higher or lower
    excludes 0 and lies within ±δ           the same, smaller than of interest
    contains 0 and lies within ±δ           no difference of interest
    otherwise                               cannot tell

No verdict is derived from measurements under different conditions. docs/comparing.md is the
description for readers. Pure functions of numbers; imports without torch.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from trainer.experiments.analysis import bonferroni_interval, estimate, needed_seeds, welch
from trainer.experiments.paired_problems import (
    FEWEST_PROBLEMS,
    difference,
    mean_difference,
)

Interval = tuple[float, float]
Basis = Literal["problems", "shared seeds", "unpaired seeds"]
Verdict = Literal[
    "higher",
    "lower",
    "higher, smaller than of interest",
    "lower, smaller than of interest",
    "no difference of interest",
    "cannot tell",
    "too few to say",
    "no verdict",
]

FEWEST_SEEDS = 3
INTEREST = 0.02
# Sums of rates such as 1/3 are not exact: what is closer to a bound lies on it.
ROUNDING = 1e-9
MINUS = "−"


@dataclass(frozen=True)
class Terms:
    """What is fixed before a comparison: δ, the number m of comparisons, and how to write numbers.

    `is_share`: the metric is a share, so that differences are in percentage points.
    """

    interest: float = INTEREST
    family: int = 1
    is_share: bool = True

    def difference(self, value: float) -> str:
        """A difference with its sign, such as `+1.2` (points) or `−0.031`."""
        sign = MINUS if value < 0 else "+"
        return f"{sign}{self._number(value)}"

    def size(self, value: float) -> str:
        """The size of a difference with its unit, such as `1.2 points`."""
        return f"{self._number(value)} points" if self.is_share else self._number(value)

    def range(self, interval: Interval) -> str:
        return f"{self.difference(interval[0])} to {self.difference(interval[1])}"

    def _number(self, value: float) -> str:
        if self.is_share:
            return f"{100 * abs(value):.1f}"
        text = f"{abs(value):.3g}"
        return text if "e" not in text else text.replace("e-", f"e{MINUS}")


@dataclass(frozen=True)
class Measured:
    """A difference with its intervals at 95 % and at 1 − 0.05 / m.

    `counts` has the number of problems, of shared seeds, or of seeds of each side. `needed` of them
    (each side) would find a difference of δ; None if there are too many to name.
    """

    basis: Basis
    counts: tuple[int, ...]
    mean: float
    interval: Interval
    adjusted: Interval
    detectable: float
    needed: int | None


@dataclass(frozen=True)
class Statement:
    """The verdict on a difference and a text that states it; `measured` is None without numbers."""

    verdict: Verdict
    words: str
    measured: Measured | None = None


def compare_checkpoints(
    a: Mapping[str, float], b: Mapping[str, float], terms: Terms = Terms()
) -> Statement:
    """Compare two checkpoints by their pass rate on each problem, a − b."""
    paired = difference(a, b)
    if paired is None:
        return Statement("too few to say", "No problem was judged in both.")
    measured = Measured(
        "problems",
        (paired.n,),
        paired.mean,
        (paired.low, paired.high),
        paired.interval(terms.family),
        paired.detectable,
        paired.needed(terms.interest, terms.family),
    )
    if paired.n < FEWEST_PROBLEMS:
        reason = f"only {_count(paired.n, 'problem')} judged in both, {FEWEST_PROBLEMS} are needed"
        return _too_few(measured, terms, reason)
    if not paired.intervals_are_reliable:
        reason = f"the difference is the same on all {paired.n:,} problems, which shows no noise"
        return _too_few(measured, terms, reason)
    return _judged(measured, terms, "This is about these two checkpoints, not about settings.")


def compare_settings(
    a: Mapping[int, float], b: Mapping[int, float], terms: Terms = Terms()
) -> Statement:
    """Compare two settings by one value per seed, a − b: paired by seed, or unpaired by Welch."""
    shared = sorted(a.keys() & b.keys())
    if shared:
        return compare_shared_seeds({seed: a[seed] - b[seed] for seed in shared}, terms)
    if min(len(a), len(b)) < FEWEST_SEEDS:
        return _too_few_seeds(
            f"The sides have {len(a)} and {_count(len(b), 'seed')}, none of them shared"
        )
    unpaired = welch(list(a.values()), list(b.values()))
    measured = Measured(
        "unpaired seeds",
        unpaired.counts,
        unpaired.mean,
        unpaired.interval(),
        unpaired.interval(terms.family),
        unpaired.detectable,
        needed_seeds(unpaired.spread, terms.interest, terms.family, degrees_per_seed=2),
    )
    if unpaired.error <= ROUNDING * max(1.0, abs(unpaired.mean)):
        return _too_few(measured, terms, "all seeds of a side have the same value")
    return _judged(measured, terms, "Unpaired: the sides share no seed.")


def compare_shared_seeds(differences: Mapping[int, float], terms: Terms = Terms()) -> Statement:
    """Compare two settings by the differences D_s of the seeds that both have."""
    values = [differences[seed] for seed in sorted(differences)]
    if len(values) < FEWEST_SEEDS:
        return _too_few_seeds(
            f"The sides share {_count(len(values), 'seed')}",
            f"D = {terms.difference(math.fsum(values) / len(values))}" if values else "",
        )
    paired = estimate(values)
    measured = Measured(
        "shared seeds",
        (paired.n,),
        paired.mean,
        (paired.low, paired.high),
        bonferroni_interval(paired, terms.family),
        paired.detectable,
        needed_seeds(paired.error * math.sqrt(paired.n), terms.interest, terms.family),
    )
    if paired.error <= ROUNDING * max(1.0, abs(paired.mean)):
        return _too_few(measured, terms, "the difference is the same for all seeds")
    return _judged(measured, terms, "Paired by seed; conditional on this set of problems.")


def problem_differences(
    a: Mapping[int, Mapping[str, float]], b: Mapping[int, Mapping[str, float]]
) -> dict[int, float]:
    """D_s for each shared seed: the mean difference over the problems judged in both runs.

    A seed without such a problem has none.
    """
    means = {seed: mean_difference(a[seed], b[seed]) for seed in sorted(a.keys() & b.keys())}
    return {seed: mean for seed, mean in means.items() if mean is not None}


def common_means(
    *sides: Mapping[int, Mapping[str, float]],
) -> list[dict[int, float]]:
    """The mean pass rate of each seed over the problems that were judged for every seed."""
    tables = [table for side in sides for table in side.values()]
    common = sorted(set.intersection(*(set(table) for table in tables))) if tables else []
    return [
        {
            seed: math.fsum(table[problem] for problem in common) / len(common)
            for seed, table in side.items()
        }
        if common
        else {}
        for side in sides
    ]


def differing_condition(conditions: Sequence[Mapping[str, Any]]) -> str:
    """The first condition that is not the same everywhere, as a sentence; empty if all are.

    `set` is the fingerprint of the problems. A condition that one measurement does not state
    differs from a stated one.
    """
    names: Collection[str] = dict.fromkeys(name for entry in conditions for name in entry)
    for name in names:
        values = list({_text(entry.get(name)): None for entry in conditions})
        if len(values) > 1:
            if name == "set":
                return "The sets of problems differ."
            return f"The {name.replace('_', ' ')} differs: {' and '.join(values[:2])}."
    return ""


def decide(interval: Interval, interest: float) -> Verdict:
    """The verdict that an interval of a difference allows, for a smallest difference δ."""
    low, high = interval
    is_within = -interest - ROUNDING <= low and high <= interest + ROUNDING
    if low > ROUNDING:
        return "higher, smaller than of interest" if is_within else "higher"
    if high < -ROUNDING:
        return "lower, smaller than of interest" if is_within else "lower"
    return "no difference of interest" if is_within else "cannot tell"


def _judged(measured: Measured, terms: Terms, about: str) -> Statement:
    verdict = decide(measured.adjusted, terms.interest)
    return Statement(
        verdict,
        " ".join(
            [
                f"{_verdict_words(verdict, measured, terms)} {_interval_words(measured, terms)}.",
                *([_needed_words(measured, terms)] if verdict == "cannot tell" else []),
                about,
            ]
        ),
        measured,
    )


def _verdict_words(verdict: Verdict, measured: Measured, terms: Terms) -> str:
    size, interest = terms.size(measured.mean), terms.size(terms.interest)
    match verdict:
        case "higher" | "lower":
            return f"{verdict.capitalize()} by {size}:"
        case "no difference of interest":
            return f"No difference of {interest} or more:"
        case "cannot tell":
            return f"Cannot tell; measured {terms.difference(measured.mean)}:"
        case _:
            return f"{verdict.partition(',')[0].capitalize()} by {size}, less than {interest}:"


def _interval_words(measured: Measured, terms: Terms) -> str:
    text = f"95 % interval {terms.range(measured.interval)} over {_basis_words(measured)}"
    if terms.family == 1:
        return text
    # Decided by the wider one, so that of all comparisons none errs in 95 of 100 cases.
    return f"{text}; {terms.range(measured.adjusted)} for {terms.family} comparisons decides"


def _basis_words(measured: Measured) -> str:
    if measured.basis == "unpaired seeds":
        return " and ".join(map(str, measured.counts)) + " seeds"
    noun = measured.basis.removesuffix("s")
    return _count(measured.counts[0], noun)


def _needed_words(measured: Measured, terms: Terms) -> str:
    unit = {"problems": "problems", "shared seeds": "shared seeds"}.get(
        measured.basis, "seeds a side"
    )
    if measured.needed is None:
        return f"More {unit} than can be run would be needed for {terms.size(terms.interest)}."
    return f"About {measured.needed:,} {unit} would show {terms.size(terms.interest)}."


def _too_few(measured: Measured, terms: Terms, reason: str) -> Statement:
    return Statement(
        "too few to say",
        f"Too few to say: {reason}. Measured {terms.difference(measured.mean)}.",
        measured,
    )


def _too_few_seeds(counted: str, also: str = "") -> Statement:
    end = f" {also}." if also else ""
    return Statement(
        "no verdict",
        f"No verdict on settings: {counted[0].lower()}{counted[1:]}; "
        f"{FEWEST_SEEDS} seeds a side are needed.{end}",
    )


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_text(value[key])}" for key in sorted(value))
    return "not recorded" if value is None else str(value)
