"""The schedule and the estimate are computed from the definition and state their assumptions."""

from __future__ import annotations

from typing import Any

import pytest

from trainer.spec import load
from webapp.definition.estimate import (
    BAR_WIDTH,
    ReferenceFacts,
    estimate_run,
    memory_of,
    problem_counts,
    stage_bars,
)
from webapp.library.model_files import ModelFacts

SMALL = ModelFacts(
    architecture="LlamaForCausalLM", parameters=1000, bytes=4000, vocabulary=10, max_length=64
)
LARGE = ModelFacts(
    architecture="LlamaForCausalLM", parameters=5000, bytes=20_000, vocabulary=10, max_length=64
)


def spec(**changes: Any) -> Any:
    """Return a run of 100 problems, a quarter held out, with two stages of 10 and 30 steps."""
    base = {
        "data": {
            "train": {"kind": "arithmetic", "count": 100},
            "evaluation": {"kind": "split", "share": 0.25},
        },
        "pool": {
            "rollouts_per_problem": 4,
            "sampling": {"max_new_tokens": 10},
            "track_problems": 0,
        },
        "stages": [
            {
                "name": "forward",
                "source": "teacher_written",
                "problems_per_step": 2,
                "until": {"steps": 10},
            },
            {"name": "reverse", "problems_per_step": 2, "until": {"steps": 30}},
        ],
        "evaluation": {
            "every": 0,
            "final_samples": 1,
            "pass_at": [1],
            "sampling": {"max_new_tokens": 10},
        },
        "checkpoints": {"keep_last": 2, "keep_best": True},
    }
    return load({**base, **changes})


def figures(**changes: Any) -> dict[str, str]:
    references = ReferenceFacts({"networks.student": SMALL, "networks.teacher": LARGE}, {})
    return {figure.title: figure.value for figure in estimate_run(spec(**changes), references).rows}


def test_stages_are_as_wide_as_their_share_of_the_steps() -> None:
    first, second = stage_bars(spec())
    assert (first.x, second.x) == (0, BAR_WIDTH / 4)
    assert first.width == BAR_WIDTH / 4 - 1
    assert "10 steps of 2 problems" in first.summary and "the teacher's answers" in first.summary


def test_tokens_are_an_upper_bound_of_all_generated_text() -> None:
    pool, teacher, student, evaluations = 75 * 4 * 10, 20 * 64, 60 * 64, 2 * 25 * 10
    assert figures()["Tokens written"] == f"at most {pool + teacher + student + evaluations:,}"


def test_memory_counts_weights_gradient_and_moments() -> None:
    # 1000 × 16 + 5000 × 4 bytes
    assert figures()["Memory"] == "35.2 KiB and more"


def test_a_run_is_placed_by_the_memory_that_the_page_shows() -> None:
    references = ReferenceFacts({"networks.student": SMALL, "networks.teacher": LARGE}, {})
    assert memory_of(spec(), references) == 1000 * 16 + 5000 * 4
    assert (
        memory_of(spec(), ReferenceFacts({"networks.student": None, "networks.teacher": LARGE}, {}))
        is None
    )


def test_specialists_are_counted_in_words() -> None:
    specialist = {"domains": ["add"], "teacher": {"model": "builtin:teacher"}}
    references = ReferenceFacts(
        {
            "networks.student": SMALL,
            "networks.teacher": LARGE,
            "networks.specialists.0.teacher": LARGE,
        },
        {},
    )
    memory = estimate_run(spec(networks={"specialists": [specialist]}), references).rows[1]
    assert "5,000 parameters and 1 specialist." in memory.assumptions


def test_disk_counts_the_checkpoints_that_are_kept() -> None:
    # 3 × 1000 × 12 bytes
    assert figures()["Disk"] == "about 35.2 KiB"
    assert figures(checkpoints={"keep_last": 1, "keep_best": False})["Disk"] == "about 11.7 KiB"


@pytest.mark.parametrize(("limit", "expected"), [(None, 1000), (300, 300), (5000, 1000)])
def test_a_limit_bounds_the_problems_of_a_file(limit: int | None, expected: int) -> None:
    data = {
        "train": {"kind": "file", "path": "dataset:a@b", "limit": limit},
        "evaluation": {"kind": "split", "share": 0.1},
    }
    counts = problem_counts(spec(data=data), {"train": 1000})
    assert counts == {"train": expected - expected // 10, "evaluation": expected // 10}


def test_figures_of_unreadable_references_are_unknown() -> None:
    data = {
        "train": {"kind": "file", "path": "hub:org/data"},
        "evaluation": {"kind": "split", "share": 0.1},
    }
    estimate = estimate_run(
        spec(data=data), ReferenceFacts({"student": None, "teacher": LARGE}, {"train": None})
    )
    assert {figure.value for figure in estimate.rows} == {"unknown"}
    assert estimate.stage_zero == "4 answers to each of the training problems"
