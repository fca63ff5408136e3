"""Held-out figures: groups, tiers, paired differences and pass@k, from counts that are known."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.text.evaluation.pass_rate_summary import (
    ProblemCounts,
    common,
    forgetting,
    metrics,
    summary,
    tiers_from_counts,
)
from trainer.text.problems import Problem

PROBLEMS = [
    Problem(str(index), "?", "1", domain="add" if index < 2 else "sub", difficulty="1", tier="")
    for index in range(4)
]
TIERS = ["mastered", "frontier", "frontier", "hopeless"]


def counts(*passed: int, of: int = 4) -> ProblemCounts:
    return ProblemCounts(PROBLEMS, np.array(passed), np.full(4, of))


def test_each_group_is_reported_alone_with_its_paired_difference() -> None:
    event = summary(counts(4, 3, 3, 0), counts(4, 1, 1, 0), TIERS, [], samples=4, pass_at=[1, 4])
    groups = {(group["by"], group["name"]): group for group in event["groups"]}
    assert groups["tier", "frontier"]["pass_rate"] == 0.75
    assert groups["tier", "frontier"]["difference"]["pass_rate"] == 0.5
    assert groups["tier", "mastered"]["difference"]["pass_rate"] == 0
    assert groups["domain", "add"]["n"] == 2
    assert groups["difficulty", "1"]["n"] == 4


def test_mastered_and_frontier_are_also_reported_together() -> None:
    event = summary(counts(4, 3, 3, 0), counts(4, 1, 1, 0), TIERS, [], 4, [1])
    group_of_both = next(
        group for group in event["groups"] if group["name"] == "mastered or frontier"
    )
    assert group_of_both["n"] == 3
    assert group_of_both["difference"]["pass_rate"] == pytest.approx(1 / 3)
    assert (
        group_of_both["difference"]["interval"][0]
        <= 1 / 3
        <= group_of_both["difference"]["interval"][1]
    )


def test_the_first_evaluation_has_no_difference() -> None:
    event = summary(counts(1, 1, 1, 1), None, TIERS, [], 4, [1, 4])
    assert event["difference"] is None
    assert event["pass_at"] == {"1": 0.25, "4": 1.0}


def test_pass_at_more_than_the_samples_is_left_out() -> None:
    assert set(summary(counts(1, 1, 1, 1), None, TIERS, [], 1, [1, 4])["pass_at"]) == {"1"}


def test_tiers_come_from_a_separate_sample_of_answers() -> None:
    sample = ProblemCounts(PROBLEMS, np.array([4, 2, 0, 0]), np.array([4, 4, 4, 0]))
    assert tiers_from_counts(sample) == ["mastered", "frontier", "hopeless", ""]


def test_metrics_name_every_figure_of_the_event() -> None:
    values = metrics("eval", summary(counts(4, 3, 3, 0), None, TIERS, [], 4, [1, 4]))
    assert values["eval/pass_rate"] == 0.625
    assert values["eval/pass_rate/tier=frontier"] == 0.75
    assert values["eval/pass_rate/low"] <= 0.625 <= values["eval/pass_rate/high"]
    assert {
        "eval/pass_at_1",
        "eval/pass_at_4",
        "eval/truncated",
        "eval/pass_rate/domain=sub",
    } <= set(values)


def test_the_common_problems_have_metrics_of_their_own() -> None:
    event = summary(counts(4, 3, 3, 0), None, TIERS, [], 4, [1])
    assert "eval/common/pass_rate" not in metrics("eval", event)
    of_common = common(counts(4, 3, 3, 0).at([0, 3]))
    assert (of_common["problems"], of_common["pass_rate"]) == (2, 0.5)
    values = metrics("eval", {**event, "common": of_common})
    assert (values["eval/pass_rate"], values["eval/common/pass_rate"]) == (0.625, 0.5)
    assert values["eval/common/pass_rate/low"] <= 0.5 <= values["eval/common/pass_rate/high"]


def test_forgetting_is_the_paired_loss_of_pass_rate() -> None:
    loss_metrics = forgetting(summary(counts(2, 1, 4, 0), counts(4, 3, 4, 0), [""] * 4, [], 4, [1]))
    assert loss_metrics["retained/forgetting"] == 0.25
    assert (
        loss_metrics["retained/forgetting/low"] <= 0.25 <= loss_metrics["retained/forgetting/high"]
    )
    assert loss_metrics["retained/forgetting/low"] >= 0
    assert forgetting(summary(counts(1, 1, 1, 1), None, [""] * 4, [], 4, [1])) == {}
