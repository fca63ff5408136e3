"""Token selection in whole runs: the number of tokens, the region events and the compute."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from tests.trainer.text.short_run import carried_out, column, short, trained_rows
from tests.trainer.text.tiny_run import events, numbers

SCORES = ("entropy", "divergence", "soft_or", "confident_and_wrong")
RULES = [(score, how) for score in SCORES for how in ("top", "sample", "bottom")]
RULES.append(("random", "sample"))


def selecting(score: str, how: str = "top", share: float = 0.5) -> dict[str, Any]:
    return {
        "objective": {"kind": "reverse_kl"},
        "tokens": {"kind": "selected", "score": score, "how": how, "share": share},
    }


def test_every_rule_keeps_its_share_of_every_answer_and_shows_the_regions(tmp_path: Path) -> None:
    """Each rule is one stage of one step."""
    folder = carried_out(
        short(*({**selecting(*rule, share=0.4), "until": {"steps": 1}} for rule in RULES)), tmp_path
    )
    result = numbers(folder)
    event_by_step = {event["step"]: event for event in events(folder, "token_regions")}
    assert sorted(event_by_step) == list(range(1, len(RULES) + 1))
    for step, event in event_by_step.items():
        rows = trained_rows(folder, step)
        kept_tokens = [sum(map(bool, row["coefficient"])) for row in rows]
        assert kept_tokens == [max(1, math.floor(0.4 * len(row["ids"]))) for row in rows]
        total = sum(len(row["ids"]) for row in rows)
        assert sum(map(sum, event["counts"])) == total
        assert sum(map(sum, event["kept"])) == sum(kept_tokens)
        assert result[step, "tokens/kept_share"] == event["kept_share"] == sum(kept_tokens) / total
        assert sum(result[step, f"tokens/q{number}"] for number in (1, 2, 3, 4)) == pytest.approx(1)
        assert result[step, "grad_norm"] > 0


def test_the_highest_and_the_lowest_half_are_complements(tmp_path: Path) -> None:
    """Only answers with an even number of tokens have two equal halves."""
    masks = {}
    for how in ("top", "bottom"):
        folder = carried_out(
            short({**selecting("soft_or", how), "until": {"steps": 1}}), tmp_path / how
        )
        masks[how] = [
            [bool(coefficient) for coefficient in row["coefficient"]]
            for row in trained_rows(folder, 1)
            if len(row["ids"]) % 2 == 0
        ]
    assert masks["top"]
    assert masks["top"] == [[not coefficient for coefficient in row] for row in masks["bottom"]]


@pytest.mark.parametrize("score", ["entropy", "random"])
def test_recording_a_token_selection_changes_neither_it_nor_the_student(
    tmp_path: Path, score: str
) -> None:
    folders = {}
    for every in (0, 1):
        folder = carried_out(
            short(selecting(score, "sample"), record={"every": every}), tmp_path / str(every)
        )
        folders[every] = folder
    assert column(folders[0], "loss") == column(folders[1], "loss")
    assert not events(folders[0], "token_regions")


def test_entropies_are_taken_from_the_sampler_and_not_computed_again(tmp_path: Path) -> None:
    """The student computes again in two cases only.

    Either the score compares with the teacher, or the student did not sample the answers.
    """
    compute = {}
    teacher_written = {"source": "teacher_written", "objective": {"kind": "forward_kl"}}
    stages = {
        "all": {},
        "entropy": selecting("entropy"),
        "soft_or": selecting("soft_or"),
        "written": teacher_written,
        "written_entropy": selecting("entropy") | teacher_written,
    }
    for name, stage in stages.items():
        definition = short({**stage, "until": {"steps": 1}}, record={"every": 0})
        compute[name] = numbers(carried_out(definition, tmp_path / name))[1, "compute"]
    assert compute["entropy"] == compute["all"] < compute["soft_or"]
    assert compute["written"] < compute["written_entropy"]


def test_grpo_can_train_on_the_tokens_of_highest_entropy_alone(tmp_path: Path) -> None:
    stage = {
        "objective": {"kind": "grpo"},
        "tokens": {"kind": "selected", "score": "entropy", "share": 0.2},
        "problems_per_step": 8,
    }
    folder = carried_out(short(stage), tmp_path)
    assert max(column(folder, "grad_norm")) > 0
    for row in trained_rows(folder, 2):
        assert sum(map(bool, row["coefficient"])) == max(1, math.floor(0.2 * len(row["ids"])))
        has_logprob = [value is not None for value in row["student_logprob"]]
        assert has_logprob == [
            bool(coefficient) and bool(row["advantage"][0]) for coefficient in row["coefficient"]
        ]
