"""Verdicts of contrasts: by kind of claim, gates, number of claims, and seed by seed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trainer.experiments.test_definition import SMALL
from trainer.experiments.definition import Experiment
from trainer.experiments.outcomes import Change, Outcome
from trainer.experiments.verdicts import Finding, findings

CLAIM: dict[str, Any] = {
    "says": "A is better.",
    "of": {"arm": "a", "metric": "m"},
    "minus": {"arm": "b", "metric": "m"},
}
# The differences of OPSD to GRPO at equal tokens in an experiment of five seeds.
SMALL_GAINS = (0.0124, 0.0118, 0.0076, 0.0121, 0.0243)
# t = 0.03 / (0.02 / √5) = 3.354 with four degrees of freedom.
UNSTEADY_GAINS = (0.05, 0.03, 0.01, 0.05, 0.01)


def outcomes(differences: Sequence[float]) -> list[Outcome]:
    """Runs of the arms a and b; a is better by these differences, one per seed."""
    return [
        Outcome(arm, seed, None, 1, 1, 1.0, after={"m": value})
        for seed, difference in enumerate(differences)
        for arm, value in (("a", difference), ("b", 0.0))
    ]


def experiment(**sections: list[dict[str, Any]]) -> Experiment:
    return Experiment.model_validate(SMALL | {"seeds": [0, 1, 2, 3, 4], **sections})


def judged(differences: Sequence[float], **bound: Any) -> Finding:
    [claim] = findings(experiment(claims=[CLAIM | bound]), outcomes(differences)).claims
    return claim


@pytest.mark.parametrize(
    ("differences", "bound", "words"),
    [
        ((0.02, 0.03, 0.04), {"interest": 0.01}, "shown"),
        ((0.02, 0.03, 0.04), {"interest": 0.01, "above": 0.03}, "not shown"),
        ((0.02, 0.03, 0.04), {"interest": 0.01, "above": 0.2}, "reversed"),
        (SMALL_GAINS, {"interest": 0.02}, "shown, smaller than of interest"),
        (SMALL_GAINS, {"interest": 0.01}, "shown"),
        ((-0.01, 0.0, -0.02), {"above": -0.06}, "no worse than the bound: shown"),
        ((-0.01, 0.0, -0.02), {"above": -0.02}, "no worse than the bound: not shown"),
        ((-0.09, -0.1, -0.11), {"above": -0.03}, "no worse than the bound: reversed"),
        # Better by far is no worse too, but it is not equal.
        ((0.19, 0.2, 0.21), {"above": -0.03}, "no worse than the bound: shown"),
        ((0.19, 0.2, 0.21), {"within": 0.03}, "equal within the bound: reversed"),
        ((0.01, 0.0, -0.01), {"within": 0.03}, "equal within the bound: shown"),
        ((0.01, 0.0, -0.01), {"within": 0.02}, "equal within the bound: not shown"),
        ((-0.19, -0.2, -0.21), {"within": 0.03}, "equal within the bound: reversed"),
        ((0.02, 0.02), {"interest": 0.01}, "shown"),
        ((0.02,), {"interest": 0.01}, "not shown"),
    ],
)
def test_a_verdict_says_what_the_bound_and_the_differences_give(
    differences: tuple[float, ...], bound: dict[str, float], words: str
) -> None:
    assert judged(differences, **bound).words == words


def test_a_difference_of_interest_can_be_ruled_out_whatever_the_verdict() -> None:
    rising, unclear = (0.02, 0.03, 0.04), (0.01, 0.0, -0.01)
    assert judged(rising, interest=0.2).remark == "a difference of 0.2 is ruled out"
    assert judged(unclear, interest=0.2).remark == "a difference of 0.2 is ruled out"
    assert judged(rising, interest=0.02).remark == ""
    assert judged(unclear, above=-0.03, interest=0.2).remark == ""


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=8), st.floats(0.01, 1))
def test_one_equal_claim_is_shown_where_the_interval_is_within_its_bounds(
    differences: list[float], within: float
) -> None:
    claim = judged(differences, within=within)
    assert claim.estimate
    inside = within - max(abs(claim.estimate.low), abs(claim.estimate.high))
    if abs(inside) > 1e-9:
        assert (claim.verdict == "shown") == (inside > 0)


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=8), st.floats(-1, 1))
def test_one_claim_is_shown_or_reversed_where_its_interval_leaves_the_bound_out(
    differences: list[float], above: float
) -> None:
    claim = judged(differences, above=above, interest=1e-9)
    assert claim.estimate
    distances = claim.estimate.low - above, claim.estimate.high - above
    if min(map(abs, distances)) > 1e-8:
        expected = {(True, True): "shown", (False, False): "reversed"}
        sides = distances[0] > 0, distances[1] > 0
        assert claim.verdict == expected.get(sides, "not shown")


def test_a_claim_among_several_needs_more_than_a_claim_alone() -> None:
    claim = CLAIM | {"interest": 0.01}
    [alone] = findings(experiment(claims=[claim]), outcomes(UNSTEADY_GAINS)).claims
    together = findings(experiment(claims=[claim, claim]), outcomes(UNSTEADY_GAINS)).claims
    assert alone.p == alone.adjusted_p == pytest.approx(0.0285, abs=1e-4) and alone.p
    assert alone.verdict == "shown"
    assert [finding.verdict for finding in together] == ["not shown", "not shown"]
    assert together[0].p == alone.p and together[0].adjusted_p == pytest.approx(2 * alone.p)
    assert together[0].adjusted_interval and together[0].adjusted_interval[0] < 0


def test_gates_and_explored_contrasts_are_not_adjusted_and_do_not_count() -> None:
    contrast = CLAIM | {"interest": 0.01}
    found = findings(
        experiment(gates=[contrast, contrast], claims=[contrast], explored=[contrast, contrast]),
        outcomes(UNSTEADY_GAINS),
    )
    all_found = [*found.gates, *found.claims, *found.explored]
    assert {finding.verdict for finding in all_found} == {"shown"}
    assert {finding.adjusted_p for finding in (*found.gates, *found.explored)} == {None}


def test_a_claim_whose_arm_was_not_run_counts_among_the_claims() -> None:
    arms = SMALL["arms"] | {"c": {"title": "C"}}
    other = CLAIM | {"interest": 0.01, "of": {"arm": "c", "metric": "m"}}
    two = experiment(arms=arms, claims=[CLAIM | {"interest": 0.01}, other])
    first, second = findings(two, outcomes(UNSTEADY_GAINS)).claims
    assert first.p is not None and first.adjusted_p == pytest.approx(2 * first.p)
    assert (second.verdict, second.p, second.adjusted_p) == ("not shown", None, None)


def test_a_gate_that_does_not_hold_silences_the_claims() -> None:
    gate = CLAIM | {"minus": 0.9, "interest": 0.1}
    claim = CLAIM | {"interest": 0.01}
    gated = findings(experiment(gates=[gate], claims=[claim]), outcomes((0.09, 0.1, 0.11)))
    assert gated.claims[0].verdict == "precondition not met"
    # A gate that holds by less than what is of interest holds.
    gate = CLAIM | {"interest": 0.5}
    gated = findings(experiment(gates=[gate], claims=[claim]), outcomes((0.09, 0.1, 0.11)))
    assert gated.claims[0].verdict == "shown"


def seed_by_seed(changes: Sequence[Change], mode: str, above: float) -> Finding:
    minus = {"arm": "a", "metric": "m", "when": "before"}
    claim = CLAIM | {"minus": minus, "above": above, "interest": 0.01, "each_seed": mode}
    runs = [
        Outcome(
            "a",
            seed,
            None,
            1,
            1,
            1.0,
            {"m": 0.5},
            {"m": 0.5 + change.difference},
            {},
            {"m": change},
        )
        for seed, change in enumerate(changes)
    ]
    planned = Experiment.model_validate(
        SMALL | {"seeds": [0, 1, 2], "claims": [claim, CLAIM | {"interest": 0.1}]}
    )
    return findings(planned, runs).claims[0]


@pytest.mark.parametrize(
    ("lowest", "highest", "verdict"),
    [(0.04, 0.2, "shown"), (0.02, 0.2, "not shown"), (-0.1, 0.02, "reversed")],
)
def test_each_seeds_interval_over_problems_must_be_above_the_bound(
    lowest: float, highest: float, verdict: str
) -> None:
    good, last = Change(0.1, 0.05, 0.15, 300), Change(0.1, lowest, highest, 300)
    changes = [last] * 3 if verdict == "reversed" else [good, good, last]
    finding = seed_by_seed(changes, "interval", 0.03)
    assert finding.words == f"in each seed, {verdict}"
    # It is no test over seeds.
    assert (finding.p, finding.adjusted_p, finding.adjusted_interval) == (None, None, None)


def test_each_seeds_measured_change_may_be_the_bound_itself() -> None:
    small, exact, large = (Change(0.1 - loss, -1.0, 1.0, 200) for loss in (0.11, 0.13, 0.131))
    words = "in each seed, no worse than the bound: "
    assert seed_by_seed([small, small, exact], "difference", -0.03).words == f"{words}shown"
    assert seed_by_seed([small, small, large], "difference", -0.03).words == f"{words}not shown"


def test_a_seed_that_was_not_run_leaves_the_criterion_open() -> None:
    assert seed_by_seed([Change(0.1, 0.05, 0.15, 300)] * 2, "interval", 0.03).verdict == "not shown"


def test_a_criterion_of_a_metric_without_an_interval_is_refused() -> None:
    with pytest.raises(KeyError, match="states no change of m"):
        findings(
            experiment(
                claims=[
                    CLAIM
                    | {"minus": {"arm": "a", "metric": "m", "when": "before"}}
                    | {"above": -0.1, "each_seed": "interval"}
                ]
            ),
            [Outcome("a", 0, None, 1, 1, 1.0, {"m": 0.5}, {"m": 0.6})],
        )


def test_a_claim_that_some_seed_could_not_measure_is_not_shown_by_the_others() -> None:
    runs = outcomes((0.2, 0.21, 0.2, 0.19, 0.2))
    del runs[2].after["m"]
    [claim] = findings(experiment(claims=[CLAIM | {"interest": 0.01}]), runs).claims
    assert sorted(claim.differences) == [0, 2, 3, 4]
    assert (claim.verdict, claim.p, claim.adjusted_p) == ("not shown", None, 1.0)
    assert claim.remark == "seed 1 could not be measured"


def test_a_metric_that_no_run_has_is_named() -> None:
    runs = [Outcome(arm, seed, None, 1, 1, 1.0) for arm in "ab" for seed in range(2)]
    with pytest.raises(KeyError, match="has no m after its training"):
        findings(experiment(claims=[CLAIM | {"interest": 0.01}]), runs)
