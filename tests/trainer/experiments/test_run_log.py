"""What is read from the log of a run: values, comparable curves, changes, clipping, the SNR."""

from __future__ import annotations

from typing import Any

import pytest

from tests.trainer.experiments.test_definition import SMALL
from trainer.experiments.definition import Experiment
from trainer.experiments.outcomes import Change, Outcome, differences
from trainer.experiments.run_log import outcome

RATE = "eval/pass_rate"
SIDES = {"of": {"arm": "a", "metric": RATE}, "minus": {"arm": "b", "metric": RATE}}
EQUAL_TOKENS = {"says": "A is ahead.", **SIDES, "interest": 0.1, "at": "equal_tokens"}
EXPERIMENT = Experiment.model_validate(
    SMALL
    | {
        "claims": [EQUAL_TOKENS],
        "watched": [RATE, f"{RATE}/tier=frontier", "retained/pass_rate", "m"],
        "curve": RATE,
    }
)


def evaluation(
    step: int, when: str, problems: int, rate: float, change: float | None = None
) -> list[dict[str, Any]]:
    """The events of an evaluation after 10 tokens a step, 5 of them before training."""
    difference = (
        None if change is None else {"pass_rate": change, "interval": [change - 0.1, change + 0.1]}
    )
    common = {"type": "evaluation", "step": step, "when": when}
    groups = [
        {"by": "tier", "name": "frontier", "n": 7, "pass_rate": rate, "difference": difference}
    ]
    whole = {"problems": problems, "pass_rate": rate, "difference": difference, "groups": groups}
    events = [{**common, "role": "evaluation", **whole}]
    values = {RATE: rate, f"{RATE}/tier=frontier": rate}
    if when != "during":
        events.append({**common, "role": "retained", **whole, "problems": 50, "groups": []})
        values["retained/pass_rate"] = rate
    return [*events, metrics(step, values)]


def metrics(step: int, values: dict[str, float]) -> dict[str, Any]:
    tokens = 5 + 10 * step
    return {
        "type": "metrics",
        "stage": "reverse",
        "step": step,
        "tokens": tokens,
        "compute": tokens / 10,
        "values": values,
    }


def read(arm: str, *events: list[dict[str, Any]]) -> Outcome:
    return outcome(EXPERIMENT, arm, 0, [event for part in events for event in part])


def test_a_run_is_read_from_its_log() -> None:
    environment = [{"type": "environment", "commit": "c0ffee"}]
    curve = [metrics(step, {"m": 0.3 + step / 100, "other": 1}) for step in (0, 5, 10)]
    run = read("a", environment, curve)
    assert (run.commit, run.step, run.tokens, run.compute) == ("c0ffee", 10, 105, 10.5)
    assert (run.before, run.after) == ({"m": 0.3}, {"m": 0.4})


def test_a_metric_that_starts_with_the_training_has_no_value_before_it() -> None:
    run = read("a", [metrics(1, {"m": 0.5}), metrics(2, {"m": 0.6})])
    assert (run.before, run.after) == ({}, {"m": 0.6})


def test_evaluations_of_all_problems_are_one_curve() -> None:
    run = read(
        "a",
        evaluation(0, "before", 300, 0.2),
        evaluation(10, "during", 300, 0.3, 0.1),
        evaluation(20, "after", 300, 0.4, 0.2),
    )
    assert [(point.step, point.value) for point in run.curves[RATE]] == [
        (0, 0.2),
        (10, 0.3),
        (20, 0.4),
    ]


def test_evaluations_of_a_part_are_a_curve_without_those_of_all() -> None:
    """The part had 0.5 before the run, as its evaluations say; all problems had 0.2."""
    run = read(
        "a",
        evaluation(0, "before", 300, 0.2),
        evaluation(10, "during", 100, 0.6, 0.1),
        evaluation(20, "during", 100, 0.7, 0.2),
        evaluation(30, "during", 100, 0.8, 0.3),
        evaluation(40, "after", 300, 0.4, 0.2),
    )
    assert [(point.step, point.tokens) for point in run.curves[RATE]] == [
        (0, 5),
        (10, 105),
        (20, 205),
        (30, 305),
    ]
    assert [point.value for point in run.curves[RATE]] == pytest.approx([0.5, 0.6, 0.7, 0.8])
    # The numbers before and after the run are those of all problems.
    assert (run.before[RATE], run.after[RATE]) == (0.2, 0.4)


def test_a_single_evaluation_of_a_part_is_left_out_of_the_curve_of_all() -> None:
    run = read(
        "a",
        evaluation(0, "before", 300, 0.2),
        evaluation(10, "during", 100, 0.6, 0.1),
        evaluation(20, "after", 300, 0.4, 0.2),
    )
    assert [point.step for point in run.curves[RATE]] == [0, 20]


def test_equal_tokens_are_the_most_at_which_both_were_evaluated_on_the_same_problems() -> None:
    """Run a ends at 405 tokens and run b at 245, but their parts were last asked at 305 and 205."""
    long = read(
        "a",
        evaluation(0, "before", 300, 0.2),
        *(evaluation(step, "during", 100, 0.5 + step / 100, step / 100) for step in (10, 20, 30)),
        evaluation(40, "after", 300, 0.99, 0.79),
    )
    short = read(
        "b",
        evaluation(0, "before", 300, 0.2),
        *(evaluation(step, "during", 100, 0.5, 0.0) for step in (5, 10, 20)),
        evaluation(24, "after", 300, 0.0, -0.2),
    )
    assert differences(EXPERIMENT.claims[0], [long, short]) == {0: pytest.approx(0.2)}


def test_at_equal_tokens_evaluations_of_different_problems_are_not_compared() -> None:
    runs = [
        read(
            arm,
            evaluation(0, "before", problems, 0.2),
            evaluation(10, "after", problems, 0.3, 0.1),
        )
        for arm, problems in (("a", 300), ("b", 200))
    ]
    with pytest.raises(KeyError, match=r"different numbers of problems \(a: 300, b: 200\)"):
        differences(EXPERIMENT.claims[0], runs)
    at_the_end = EXPERIMENT.claims[0].model_copy(update={"at": "end"})
    assert differences(at_the_end, runs) == {0: pytest.approx(0.0)}


def test_the_changes_are_those_of_the_last_evaluation() -> None:
    run = read(
        "a",
        evaluation(0, "before", 300, 0.2),
        evaluation(10, "during", 300, 0.3, 0.1),
        evaluation(20, "after", 300, 0.4, 0.2),
    )
    change = 0.2, 0.2 - 0.1, 0.2 + 0.1
    assert run.changes == {
        RATE: Change(*change, 300),
        f"{RATE}/tier=frontier": Change(*change, 7),
        "retained/pass_rate": Change(*change, 50),
    }


def test_the_clipped_share_is_that_of_updates_with_a_gradient_above_the_limit() -> None:
    # The preset's limit is 1, and a gradient of just that length is not changed.
    norms = (0.5, 1.0, 1.5, 0.2)
    steps = [metrics(step, {"grad_norm": norm}) for step, norm in enumerate(norms, 1)]
    assert read("a", steps).clipped_share == 0.25
    assert read("a", [metrics(1, {"m": 1.0})]).clipped_share is None


def snr(*bins: tuple[float, float, float, float]) -> dict[str, float]:
    """The SNR metrics of bins of (low, high, ratio of the first half, of the second)."""
    names = ("low", "high", "first_half", "second_half")
    event = {
        "type": "snr",
        "step": 0,
        "bins": [dict(zip(names, each, strict=True)) for each in bins],
    }
    watching = Experiment.model_validate(SMALL | {"watched": ["snr/at_0", "snr/at_1"]})
    return outcome(watching, "a", 0, [event]).after


def test_the_peak_of_the_snr_is_found_on_one_half_and_measured_on_the_other() -> None:
    # The second half alone would say that the peak is 0.8.
    middle = ((0.0, 0.5, 0.2, 0.8), (0.5, 1.0, 0.9, 0.4))
    assert snr((0.0, 0.0, 9.0, 0.1), *middle, (1.0, 1.0, 9.0, 0.3)) == {
        "snr/at_0": 0.25,
        "snr/at_1": pytest.approx(0.75),
    }


def test_the_snr_has_no_ends_without_halves_or_a_peak() -> None:
    assert snr((0.0, 0.0, 0.1, 0.1), (0.0, 0.5, 0.2, 0.0)) == {}
    assert snr((0.0, 0.0, 0.1, 0.1)) == {}
    old = {"type": "snr", "step": 0, "bins": [{"low": 0.0, "high": 0.0, "snr": 0.1}]}
    assert outcome(EXPERIMENT, "a", 0, [old]).after == {}
