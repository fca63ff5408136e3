"""What may be learnt from a file of scores, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from trainer.spec import issues_in

TOP = {"kind": "top", "k": 4}
GRPO = {"kind": "grpo"}


def messages(objective: dict[str, Any], **changes: Any) -> list[str]:
    stage = {
        "name": "first",
        "source": "solutions",
        "objective": objective,
        **changes.pop("stage", {}),
    }
    definition = {
        "networks": {"teacher": {"kind": "scores", "path": "dataset:scores@abc"}},
        "stages": [stage],
        **changes,
    }
    return [f"{issue.path} {issue.message}" for issue in issues_in(definition)]


@pytest.mark.parametrize("kind", ["forward_kl", "reverse_kl", "jsd", "skewed_kl"])
def test_divergences_over_the_teachers_top_tokens_are_allowed(kind: str) -> None:
    assert messages({"kind": kind, "vocabulary": TOP}) == []


@pytest.mark.parametrize(
    ("objective", "changes", "path", "remedy"),
    [
        ({"vocabulary": {"kind": "all"}}, {}, "objective.vocabulary.kind", "choose top"),
        ({"vocabulary": {**TOP, "of": "student"}}, {}, "objective.vocabulary.of", "choose teacher"),
        ({"vocabulary": TOP, "temperature": 2.0}, {}, "objective.temperature", "set it to 1"),
        ({"vocabulary": TOP}, {"stage": {"source": "teacher_written"}}, "source", "solutions"),
        ({"vocabulary": TOP}, {"stage": {"source": "student_rollouts"}}, "source", "solutions"),
        (
            {"vocabulary": TOP},
            {"stage": {"tokens": {"kind": "selected", "score": "divergence"}}},
            "tokens.score",
            "entropy or random",
        ),
        ({"vocabulary": TOP}, {"pool": {"measure_snr": True}}, "pool.measure_snr", "turn it off"),
    ],
)
def test_what_the_file_does_not_determine_is_refused(
    objective: dict[str, Any], changes: dict[str, Any], path: str, remedy: str
) -> None:
    found = messages({"kind": "forward_kl", **objective}, **changes)
    assert any(message.split(" ")[0].endswith(path) and remedy in message for message in found), (
        found
    )


def test_a_kl_term_among_the_shapers_needs_the_teacher_as_well() -> None:
    shaped = {
        "source": "student_rollouts",
        "rollouts": {"generate": {"per_problem": 4}},
        "shapers": {"kl": {"to": "teacher"}},
    }
    assert any("networks.teacher is of kind scores" in m for m in messages(GRPO, stage=shaped))
    shaped["shapers"] = {"kl": {"to": "reference"}}
    assert messages(GRPO, stage=shaped) == []


def test_a_file_of_scores_writes_no_chosen_answers() -> None:
    [message] = messages({"kind": "dpo"}, stage={"source": "pairs"})
    assert message.startswith("stages.0.pairs.chosen is teacher")
    pairs = {"source": "pairs", "pairs": {"chosen": "solutions"}}
    assert messages({"kind": "dpo"}, stage=pairs) == []
