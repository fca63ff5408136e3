"""What a run reports of its calibration."""

from __future__ import annotations

import json
import math

import pytest

from trainer.text.calibration.summary import metrics, summarise

RIGHT = [True, False, None, True]
STATED = [0.9, None, 0.4, 0.7]
PROBLEMS = ["", "missing", "", ""]


def test_an_answer_that_states_nothing_counts_as_no_confidence() -> None:
    event = summarise("stated", STATED, RIGHT, PROBLEMS)
    assert event["n"] == 3
    assert event["mean_confidence"] == pytest.approx((0.9 + 0 + 0.7) / 3)
    assert event["malformed"] == {"missing": 1, "duplicated": 0, "out_of_range": 0, "malformed": 0}
    assert event["accuracy"] == pytest.approx(2 / 3)
    assert [row["n"] for row in event["bins"]] == [1, 1, 1]


def test_an_expectation_leaves_out_what_has_none_and_says_so() -> None:
    event = summarise("expected", STATED, RIGHT, PROBLEMS)
    assert event["n"] == 2
    assert event["mean_confidence"] == pytest.approx(0.8)
    assert math.isnan(event["auroc"])


def test_the_parts_of_the_brier_score_add_up_in_the_event() -> None:
    event = summarise("answer", [0.11, 0.17, 0.5, 0.93], [False, True, True, True])
    decomposition = event["brier_parts"]
    assert decomposition["reliability"] - decomposition["resolution"] + decomposition[
        "uncertainty"
    ] + decomposition["within"] == pytest.approx(event["brier"])


def test_metrics_are_named_after_the_readout() -> None:
    values = metrics(summarise("stated", STATED, RIGHT, PROBLEMS))
    assert values["calibration/stated/malformed"] == 0.25
    assert set(values) == {
        f"calibration/stated/{name}"
        for name in (
            "ece",
            "ece_mass",
            "ece_if_calibrated",
            "brier",
            "gap",
            "spr",
            "auroc",
            "mean_confidence",
            "malformed",
        )
    }


def test_no_answers_give_no_numbers_rather_than_an_error() -> None:
    event = summarise("expected", [None, 0.5], [True, None], ["malformed", ""])
    assert event["n"] == 0
    assert math.isnan(event["ece"])
    assert event["bins"] == []
    assert json.loads(json.dumps(event))["malformed"]["malformed"] == 1
