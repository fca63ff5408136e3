"""The sentence about the rule of a verdict says what the verdict follows from."""

from __future__ import annotations

from trainer.experiments.definition import load
from trainer.experiments.rule_text import adjusted_together, rule

OVER_SEEDS = "(Student's t, paired by seed)."


def test_a_higher_claim_names_its_bound_its_adjustment_and_what_is_of_interest() -> None:
    claims = load("paced").claims
    assert rule(claims[0], adjusted_together(claims)) == (
        "Shown if the mean difference over seeds is above 0 with p ≤ 0.05 after Holm's adjustment "
        f"for 5 claims {OVER_SEEDS} A difference of 0.01 or more is of interest."
    )
    assert "is above −0.03 with" in rule(claims[2], 5) and "of interest" not in rule(claims[2], 5)


def test_claims_for_each_seed_are_not_adjusted() -> None:
    gain, kept = load("sample").claims
    assert adjusted_together((gain, kept)) == 0
    assert rule(gain, 0) == (
        "Shown if the whole 95 % interval over problems is above 0.03 with every seed by itself."
    )
    assert rule(kept, 0) == (
        "Shown if the measured change is at least −0.03 with every seed by itself."
    )


def test_an_equal_claim_names_both_bounds() -> None:
    contrast = load("paced").claims[0].model_copy(update={"within": 0.02, "interest": None})
    assert rule(contrast, 1) == (
        "Shown if the mean difference over seeds lies between −0.02 and +0.02 with p ≤ 0.05 "
        f"{OVER_SEEDS}"
    )
