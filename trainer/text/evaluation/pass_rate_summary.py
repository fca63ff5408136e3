"""Held-out pass rates by group with intervals, pass@k, and the difference to the first evaluation.

All evaluations of a run use the same sampling noise, so that an unchanged student scores exactly
the same, and sampling noise does not blur the paired difference.

Tiers come with the problems where their source has them. Otherwise each held-out problem gets the
tier of the untrained student's answers in a separate sample that is never counted again: with tiers
from the counted answers, the hopeless could only rise and the mastered only fall (regression to the
mean).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainer.text.evaluation import intervals
from trainer.text.evaluation.intervals import Counts
from trainer.text.problems import Problem
from trainer.text.rollouts.answers import tally, truncated_share
from trainer.text.rollouts.questions import Answer

MASTERED_OR_FRONTIER = "mastered or frontier"


@dataclass(frozen=True)
class ProblemCounts:
    """Counts (passed, verdicts) of each problem: vectors over `problems`."""

    problems: Sequence[Problem]
    passed: Counts
    verdicts: Counts

    def at(self, indices: Sequence[int]) -> ProblemCounts:
        return ProblemCounts(
            [self.problems[index] for index in indices],
            self.passed[list(indices)],
            self.verdicts[list(indices)],
        )

    def state(self) -> dict[str, Any]:
        return {"passed": self.passed.tolist(), "verdicts": self.verdicts.tolist()}


def count_by_problem(problems: Sequence[Problem], answers: Sequence[Answer]) -> ProblemCounts:
    return ProblemCounts(problems, *tally(problems, answers))


def tiers_from_counts(counts: ProblemCounts) -> list[str]:
    """The tier of each problem.

    Mastered if all judged answers pass, hopeless if none does, else frontier; empty without
    verdicts.
    """
    rates = np.where(counts.verdicts > 0, counts.passed / np.maximum(counts.verdicts, 1), np.nan)
    return [
        "" if np.isnan(p) else "mastered" if p == 1 else "hopeless" if p == 0 else "frontier"
        for p in rates
    ]


def summary(
    now: ProblemCounts,
    before: ProblemCounts | None,
    tiers: Sequence[str],
    answers: Sequence[Answer],
    samples: int,
    pass_at: Sequence[int],
) -> dict[str, Any]:
    """The fields of an `evaluation` event.

    `before` has the same problems as `now`, or is None for the first evaluation.
    """
    return {
        "samples": samples,
        "problems": len(now.problems),
        **_rates(now, before),
        "pass_at": {
            str(k): intervals.pass_at(k, now.passed, now.verdicts) for k in pass_at if k <= samples
        },
        "truncated": truncated_share(answers),
        "groups": _groups(now, before, tiers),
    }


def common(counts: ProblemCounts) -> dict[str, Any]:
    """The field `common` of an `evaluation` event, from the counts of those problems alone."""
    rate, interval = intervals.pass_rate(counts.passed, counts.verdicts)
    return {"problems": len(counts.problems), "pass_rate": rate, "interval": interval}


def metrics(prefix: str, event: Mapping[str, Any]) -> dict[str, float]:
    """Flat metrics of an `evaluation` event.

    For example `<prefix>/pass_rate`, `…/pass_rate/low`, `…/pass_rate/tier=frontier`, `…/pass_at_4`,
    `…/common/pass_rate`.
    """
    values = {
        f"{prefix}/pass_rate": event["pass_rate"],
        f"{prefix}/pass_rate/low": event["interval"][0],
        f"{prefix}/pass_rate/high": event["interval"][1],
        f"{prefix}/truncated": event["truncated"],
    }
    values |= {f"{prefix}/pass_at_{k}": value for k, value in event["pass_at"].items()}
    values |= {
        f"{prefix}/pass_rate/{group['by']}={group['name']}": group["pass_rate"]
        for group in event["groups"]
    }
    if of_common := event.get("common"):
        values |= {
            f"{prefix}/common/pass_rate": of_common["pass_rate"],
            f"{prefix}/common/pass_rate/low": of_common["interval"][0],
            f"{prefix}/common/pass_rate/high": of_common["interval"][1],
        }
    return values


def forgetting(event: Mapping[str, Any]) -> dict[str, float]:
    """How much of the retained skill is lost: pass rate before − now, with its 95 % interval.

    Paired by problem; negative is a gain. Empty for the first evaluation.
    """
    if event["difference"] is None:
        return {}
    change, (low, high) = event["difference"]["pass_rate"], event["difference"]["interval"]
    return {
        "retained/forgetting": -change,
        # A loss is the negative change, so the bounds change places.
        "retained/forgetting/low": -high,
        "retained/forgetting/high": -low,
    }


def _rates(now: ProblemCounts, before: ProblemCounts | None) -> dict[str, Any]:
    rate, interval = intervals.pass_rate(now.passed, now.verdicts)
    difference = None
    if before is not None:
        change, change_interval = intervals.difference(
            (now.passed, now.verdicts), (before.passed, before.verdicts)
        )
        difference = {"pass_rate": change, "interval": change_interval}
    return {"pass_rate": rate, "interval": interval, "difference": difference}


def _groups(
    now: ProblemCounts, before: ProblemCounts | None, tiers: Sequence[str]
) -> list[dict[str, Any]]:
    return [
        {
            "by": by,
            "name": name,
            "n": len(indices),
            **_rates(now.at(indices), None if before is None else before.at(indices)),
        }
        for by, name, indices in _memberships(now.problems, tiers)
    ]


def _memberships(
    problems: Sequence[Problem], tiers: Sequence[str]
) -> list[tuple[str, str, list[int]]]:
    """Every group as (by, name, indices of its members).

    Mastered and frontier problems together form one more group: training can be expected to help
    them.
    """
    labels = {
        "tier": list(tiers),
        "difficulty": [problem.difficulty for problem in problems],
        "domain": [problem.domain for problem in problems],
    }
    groups = [
        (by, name, _indices_of(column, {name}))
        for by, column in labels.items()
        for name in sorted(set(column) - {""})
    ]
    if {"mastered", "frontier", "hopeless"} <= set(tiers):
        groups.append(("tier", MASTERED_OR_FRONTIER, _indices_of(tiers, {"mastered", "frontier"})))
    return groups


def _indices_of(labels: Sequence[str], names: set[str]) -> list[int]:
    return [index for index, label in enumerate(labels) if label in names]
