"""The problem pool: pass rates, the weights that follow from them, and the problems of each step.

A problem with verdicts on fewer than half of its K answers is set aside, because its pass rate is
not known. A problem of weight 0 is dropped before any teacher work. Both return if a later
measurement gives them a weight.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.spec import Weighting
from trainer.text.evaluation.intervals import Counts
from trainer.text.training.problem_weights import (
    Vector,
    effective_problems,
    normalised,
    share_wrongly_dropped,
    weigh,
)


@dataclass(frozen=True)
class ProblemPool:
    """Counts per problem, measured after `step` updates with K answers each.

    All vectors run over the problems of the pool.
    """

    passed: Counts
    verdicts: Counts
    k: int
    step: int
    weighting: Weighting

    @cached_property
    def rates(self) -> Vector:
        """Pass rates; NaN where there is no verdict."""
        return np.where(self.verdicts > 0, self.passed / np.maximum(self.verdicts, 1), np.nan)

    @cached_property
    def has_rate(self) -> NDArray[np.bool_]:
        """Whether at least half of a problem's answers have verdicts; all True if unmeasured."""
        if not self.k:
            return np.ones(len(self.passed), np.bool_)
        return np.asarray((2 * self.verdicts >= self.k) & (self.verdicts > 0))

    @cached_property
    def weights(self) -> Vector:
        """w̃: mean 1 over the kept problems, 0 for dropped and set-aside ones."""
        return normalised(
            np.where(
                self.has_rate, weigh(self.weighting, np.where(self.has_rate, self.rates, 0.0)), 0.0
            )
        )

    @cached_property
    def kept_problems(self) -> NDArray[np.int64]:
        """Indices of the problems with a weight above 0."""
        return np.flatnonzero(self.weights > 0)

    def weights_or_none(self) -> list[float | None]:
        """w̃ of each problem; None where it is set aside."""
        return [
            float(weight) if has_rate else None
            for weight, has_rate in zip(self.weights, self.has_rate, strict=True)
        ]

    def metrics(self) -> dict[str, float]:
        """Shares of the pool.

        Mastered (hopeless) problems are those of which all (none) of the K answers passed.
        """
        count, rates = len(self.passed), self.rates[self.has_rate]
        wrongly = share_wrongly_dropped(
            self.weighting, self.passed[self.has_rate], self.verdicts[self.has_rate]
        )
        return {
            "pool/mastered": float((rates == 1).sum()) / count,
            "pool/hopeless": float((rates == 0).sum()) / count,
            "pool/frontier": float(((rates > 0) & (rates < 1)).sum()) / count,
            "pool/kept": len(self.kept_problems) / count,
            "pool/set_aside": float((~self.has_rate).sum()) / count,
            "pool/wrongly_dropped": wrongly,
            "weights/effective_problems": effective_problems(self.weights),
        }

    def drift(self, earlier: ProblemPool) -> float:
        """Mean |p_new − p_old| over the problems with a pass rate in both measurements."""
        in_both = self.has_rate & earlier.has_rate
        return (
            float(np.abs(self.rates[in_both] - earlier.rates[in_both]).mean())
            if in_both.any()
            else 0.0
        )

    @classmethod
    def unmeasured(cls, count: int, weighting: Weighting) -> ProblemPool:
        """A pool without pass rates; `weighting` must not need them."""
        zeros = np.zeros(count, np.int64)
        return cls(zeros, zeros, 0, 0, weighting)

    def state(self) -> dict[str, Any]:
        return {
            "passed": self.passed.tolist(),
            "verdicts": self.verdicts.tolist(),
            "k": self.k,
            "step": self.step,
        }

    @classmethod
    def from_state(cls, state: dict[str, Any], weighting: Weighting) -> ProblemPool:
        return cls(
            np.array(state["passed"], np.int64),
            np.array(state["verdicts"], np.int64),
            state["k"],
            state["step"],
            weighting,
        )


def draw(
    kept_problems: NDArray[np.int64], size: int, index: int, seed: int, origin: int
) -> list[int]:
    """Return problems index·size … (index + 1)·size − 1 of an endless sequence of shuffled passes.

    `origin` is the step at which the sequence began. The order follows from (seed, origin, pass)
    alone, so a resumed run draws the same problems. A problem can occur twice in a step in which
    one pass ends and the next begins.
    """
    numbers, count = range(index * size, (index + 1) * size), len(kept_problems)
    # A step longer than a pass needs several of them.
    orders = {
        pass_number: pass_order(count, seed, origin, pass_number)
        for pass_number in {number // count for number in numbers}
    }
    return [int(kept_problems[orders[number // count][number % count]]) for number in numbers]


# The steps of a pass share its order, which takes 20 ms to shuffle for a million problems. Two are
# kept, because a step can end one pass and begin the next.
@lru_cache(maxsize=2)
def pass_order(count: int, seed: int, origin: int, pass_number: int) -> NDArray[np.int64]:
    """Return the order of a pass over `count` problems."""
    return np.random.Generator(np.random.PCG64([seed, origin, pass_number])).permutation(count)
