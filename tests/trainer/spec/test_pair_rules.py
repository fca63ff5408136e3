"""Settings that make no sense with preference pairs are refused beside the setting."""

from __future__ import annotations

from typing import Any

import pytest

from trainer.spec import issues_in

STAGE: dict[str, Any] = {"name": "only"}
PAIRS: dict[str, Any] = {"name": "pairs", "source": "pairs", "objective": {"kind": "dpo"}}
FILE = {"teacher": {"kind": "texts", "path": "file:x", "rejected": "bad"}}


def issues_by_path(**settings: Any) -> dict[str, str]:
    return {issue.path: issue.message for issue in issues_in(settings)}


def pairs(**changes: Any) -> dict[str, Any]:
    return {"stages": [PAIRS | changes]}


@pytest.mark.parametrize(
    ("settings", "path", "reason"),
    [
        (
            {"stages": [STAGE | {"objective": {"kind": "dpo"}}]},
            "stages.0.objective.kind",
            "but the source is student_rollouts; choose pairs as source",
        ),
        *(
            (
                pairs(objective={"kind": kind}),
                "stages.0.objective.kind",
                "learns from single answers",
            )
            for kind in ("reverse_kl", "cross_entropy", "policy_gradient")
        ),
        (
            pairs(tokens={"kind": "selected", "score": "entropy"}),
            "stages.0.tokens.kind",
            "dpo compares whole answers",
        ),
        (
            pairs(reduction="token_mean"),
            "stages.0.reduction",
            "is a mean over pairs; set it to sequence_mean",
        ),
        (
            pairs(renormalise_by_kept=True),
            "stages.0.renormalise_by_kept",
            "every pair that is left counts",
        ),
        (
            pairs(pairs={"rejected": "column"}),
            "stages.0.pairs.rejected",
            "the teacher is no file with a rejected column",
        ),
        (
            {
                **pairs(pairs={"rejected": "column", "chosen": "solutions"}),
                "networks": FILE,
            },
            "stages.0.pairs.chosen",
            "its rows are the pairs",
        ),
        (
            {
                **pairs(pairs={"chosen": "solutions"}),
                "data": {"train": {"kind": "file", "path": "file:x"}},
            },
            "stages.0.pairs.chosen",
            "names no solution column",
        ),
        (
            {
                "stages": [
                    STAGE
                    | {
                        "source": "teacher_written",
                        "rollouts": {"generate": {"sampling": {"max_new_tokens": 9}}},
                    },
                    PAIRS,
                ]
            },
            "stages.1.rollouts.generate.sampling",
            "differs from that of stage only",
        ),
        (
            {**pairs(), "pool": {"refresh": "every", "refresh_every": 5}},
            "stages.0.source",
            "set pool.refresh to each_stage or never",
        ),
    ],
)
def test_settings_without_a_meaning_for_pairs_are_refused_with_the_reason(
    settings: dict[str, Any], path: str, reason: str
) -> None:
    assert reason in issues_by_path(**settings)[path]


@pytest.mark.parametrize(
    "settings",
    [
        pairs(inner_epochs=2, minibatches=2),
        {
            **pairs(
                pairs={"rejected": "column"},
                rollouts={"generate": {"per_problem": 4, "sampling": {"temperature": 0}}},
            ),
            "networks": FILE,
        },
    ],
)
def test_pairs_from_a_file_and_several_updates_are_accepted(settings: dict[str, Any]) -> None:
    assert issues_by_path(**settings) == {}


def test_the_column_of_the_chosen_answers_is_not_that_of_the_rejected_ones() -> None:
    teacher = {"kind": "texts", "path": "file:pairs.jsonl", "rejected": "response"}
    stage = {
        "name": "only",
        "source": "pairs",
        "objective": {"kind": "dpo"},
        "pairs": {"rejected": "column"},
    }
    [issue] = issues_in({"networks": {"teacher": teacher}, "stages": [stage]})
    assert issue.path == "stages.0.pairs.rejected" and "name two columns" in issue.message
