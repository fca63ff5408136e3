"""Every objective trains the built-in student in a whole run, on every source that it allows.

The events follow docs/events.md.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.trainer.text.short_run import carried_out, column, short, trained_rows
from tests.trainer.text.tiny_run import events, numbers

CLIP = {"kind": "clip", "scope": "entry", "limit": 0.05}
OBJECTIVES: dict[str, dict[str, Any]] = {
    "forward": {"kind": "forward_kl"},
    "reverse": {"kind": "reverse_kl", "temperature": 1.5},
    "jsd": {"kind": "jsd", "beta": 0.3},
    "skewed": {"kind": "skewed_kl", "direction": "reverse"},
    "adaptive": {"kind": "adaptive_kl"},
    "clip_entry": {"kind": "forward_kl", "clip": CLIP},
    "clip_nonneg": {"kind": "reverse_kl", "clip": CLIP | {"scope": "entry_nonneg"}},
    "clip_token": {"kind": "jsd", "clip": CLIP | {"scope": "token"}},
    "top_teacher": {
        "kind": "forward_kl",
        "vocabulary": {"kind": "top", "k": 8, "of": "teacher", "rest": "renormalise"},
    },
    "top_student": {
        "kind": "reverse_kl",
        "vocabulary": {"kind": "top", "k": 8, "of": "student", "rest": "tail"},
    },
}


def test_every_divergence_trains_on_the_students_own_answers(tmp_path: Path) -> None:
    """Each divergence is one stage of one step."""
    stages = [
        {"name": name, "objective": objective, "until": {"steps": 1}}
        for name, objective in OBJECTIVES.items()
    ]
    folder = carried_out(short(*stages), tmp_path)
    result = numbers(folder)
    for step, objective in enumerate(OBJECTIVES.values(), start=1):
        assert math.isfinite(result[step, "loss"]) and result[step, "grad_norm"] > 0
        assert ((step, "tokens/capped_share") in result) == ("clip" in objective)
        assert result.get((step, "tokens/capped_share"), 1) > 0
        assert {kind for row in trained_rows(folder, step) for kind in row["kind"]} == {1}


def test_policy_gradient_learns_from_the_sampled_token_alone(tmp_path: Path) -> None:
    folder = carried_out(
        short({"objective": {"kind": "policy_gradient"}, "until": {"steps": 1}}), tmp_path
    )
    assert all(norm > 0 for norm in column(folder, "grad_norm"))
    rows = trained_rows(folder, 1)
    assert {kind for row in rows for kind in row["kind"]} == {2}
    gains = [np.array(row["teacher_logprob"]) - np.array(row["student_logprob"]) for row in rows]
    terms = [
        float((-gain * np.array(row["student_logprob"])).mean())
        for gain, row in zip(gains, rows, strict=True)
    ]
    assert column(folder, "loss")[0] == pytest.approx(np.mean(terms), rel=1e-4)


def test_grpo_learns_from_verdicts_without_a_teacher(tmp_path: Path) -> None:
    folder = carried_out(
        short({"objective": {"kind": "grpo"}, "problems_per_step": 8, "until": {"steps": 2}}),
        tmp_path,
    )
    rows = [row for step in (1, 2) for row in trained_rows(folder, step)]
    assert {kind for row in rows for kind in row["kind"]} == {2}
    assert not any(row["teacher_prompt_ids"] for row in rows)
    flat = [row for row in rows if not any(row["advantage"])]
    assert 0 < len(flat) < len(rows)
    assert sum(column(folder, "advantages/zero_variance_share")) / 2 == len(flat) / len(rows)
    assert all(value is None for row in flat for value in row["student_logprob"])
    for row in rows:
        assert len(set(row["advantage"])) == 1
        assert row in flat or (row["advantage"][0] > 0) == row["verdict"]
    assert set(column(folder, "ratio/clipped_share")) == {0}, (
        "an update on fresh answers has ratios of 1"
    )
    assert column(folder, "staleness/mean") == [0, 0]


def test_grpo_without_any_difference_between_answers_leaves_the_student_as_it_was(
    tmp_path: Path,
) -> None:
    hopeless = {"kind": "arithmetic", "families": ["mul"], "levels": [3], "count": 8, "seed": 1}
    folder = carried_out(short({"objective": {"kind": "grpo"}}, data={"train": hopeless}), tmp_path)
    assert column(folder, "advantages/zero_variance_share") == [1, 1, 1]
    assert column(folder, "loss") == column(folder, "grad_norm") == [0, 0, 0]
    assert not [
        key
        for (_, key), value in numbers(folder).items()
        if not key.startswith("calibration/") and not math.isfinite(value)
    ]
    after = next(event for event in events(folder, "evaluation") if event["when"] == "after")
    assert after["difference"] == {"pass_rate": 0.0, "interval": [0.0, 0.0]}


def test_grpo_with_all_its_parts_trains(tmp_path: Path) -> None:
    """Old, reference and teacher log-probs together, several updates of a step, and shapers."""
    stage = {
        "objective": {
            "kind": "grpo",
            "dual_clip": 3,
            "ratio": "sequence_token",
            "clip_low": 0.001,
            "clip_high": 0.001,
            "kl": {"kind": "kl", "to": "reference"},
        },
        "shapers": {"kl": {"to": "teacher"}, "overlong": {"share": 0.5}},
        "rollouts": {
            "generate": {"per_problem": 4, "sampling": {"max_new_tokens": 72}},
            "control": {"kind": "dynamic_sampling", "most_answers": 8},
        },
        "inner_epochs": 3,
        "problems_per_step": 8,
        "until": {"steps": 2},
    }
    folder = carried_out(short(stage), tmp_path)
    rows = trained_rows(folder, 1)
    assert all(row["teacher_prompt_ids"] for row in rows)
    assert all(len(set(row["advantage"])) > 1 for row in rows if len(row["advantage"]) > 1)
    assert all(norm > 0 for norm in column(folder, "grad_norm"))
    shares = [column(folder, f"ratio/clipped_{kind}share") for kind in ("", "upper_", "lower_")]
    assert max(shares[0]) > 0
    np.testing.assert_allclose(shares[0], np.add(shares[1], shares[2]), atol=1e-9)
    by_action = [key for event in events(folder, "pipeline") for key in event["decisions"]]
    assert any(key.startswith("resample") for key in by_action)


@pytest.mark.parametrize("source", ["teacher_written", "solutions"])
def test_cross_entropy_is_the_negative_log_likelihood_of_what_was_written(
    tmp_path: Path, source: str
) -> None:
    folder = carried_out(
        short({"objective": {"kind": "cross_entropy"}, "source": source}), tmp_path
    )
    rows = trained_rows(folder, 1)
    assert {(row["source"], *row["kind"]) for row in rows} <= {
        ("teacher", *[3] * length) for length in range(1, 25)
    }
    assert column(folder, "loss")[0] == pytest.approx(
        np.mean([-np.mean(row["student_logprob"]) for row in rows]), rel=1e-4
    )
    assert column(folder, "loss")[-1] > 0 and not events(folder, "pipeline", "token_regions")


def test_a_divergence_may_be_taken_over_solutions_and_the_teachers_answers(tmp_path: Path) -> None:
    sources = ("solutions", "teacher_written")
    folder = carried_out(
        short(
            *(
                {"objective": {"kind": "forward_kl"}, "source": source, "until": {"steps": 1}}
                for source in sources
            )
        ),
        tmp_path,
    )
    assert all(divergence > 0 for divergence in column(folder, "divergence/mean"))
    assert all(row["verdict"] for row in trained_rows(folder, 1))


def test_a_solution_longer_than_the_longest_answer_is_cut(tmp_path: Path) -> None:
    stage = {
        "objective": {"kind": "cross_entropy"},
        "source": "solutions",
        "rollouts": {"generate": {"sampling": {"max_new_tokens": 5}}},
    }
    folder = carried_out(short(stage | {"until": {"steps": 1}}), tmp_path)
    rows = trained_rows(folder, 1)
    assert max(len(row["ids"]) for row in rows) == 5
    assert column(folder, "truncated/share") == [sum(row["truncated"] for row in rows) / len(rows)]


def test_every_token_of_a_round_is_accounted_for_at_its_step(tmp_path: Path) -> None:
    folder = carried_out(short({"objective": {"kind": "reverse_kl"}}), tmp_path)
    messages = events(folder, "pipeline")
    assert [event["step"] for event in messages] == [1, 2, 3]
    for event in messages:
        rows = trained_rows(folder, event["step"])
        assert event["rows"] == len(rows) == 8
        assert event["generated"] == event["consumed"] == sum(len(row["ids"]) for row in rows)
        assert (event["buffered"], event["pruned"], event["dropped"], event["share_edited"]) == (
            0,
            0,
            {},
            0,
        )
