"""A whole run that samples while it trains.

Its answers are one update old from the second step on, and a repetition gives the same numbers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.trainer.text.tiny_run import events, final_hash, spec, start


def run(folder: Path, minibatches: int = 1, **changes: Any) -> dict[int, dict[str, float]]:
    generate = {"generate": {"per_problem": 2, "sampling": {"max_new_tokens": 24}}}
    stage = {
        "objective": {"kind": "grpo"},
        "minibatches": minibatches,
        "problems_per_step": 4,
        "until": {"steps": 3},
        "rollouts": generate,
    }
    stages = [{"name": "first", **stage}, {"name": "second", **stage}]
    assert start(spec(stages=stages, compute={"overlap": True}, **changes), folder) == 0
    result = [event for event in events(folder, "metrics") if "staleness/mean" in event["values"]]
    return {event["step"]: event["values"] for event in result}


def test_answers_are_one_update_old_except_at_the_beginning_of_a_stage(tmp_path: Path) -> None:
    messages = run(tmp_path / "run")
    assert [values["staleness/mean"] for _, values in sorted(messages.items())] == [
        0,
        1,
        1,
        0,
        1,
        1,
    ]
    run(tmp_path / "again")
    assert final_hash(tmp_path / "run") == final_hash(tmp_path / "again")


def test_a_pool_refresh_discards_answers_sampled_ahead(tmp_path: Path) -> None:
    pool = {"refresh": "every", "refresh_every": 2, "rollouts_per_problem": 2}
    messages = run(tmp_path / "run", pool=pool)
    assert [values["staleness/mean"] for _, values in sorted(messages.items())] == [
        0,
        1,
        0,
        0,
        0,
        1,
    ]


def test_the_age_of_answers_counts_updates_and_not_steps(tmp_path: Path) -> None:
    messages = run(tmp_path, minibatches=2)
    ages = [values["staleness/mean"] for _, values in sorted(messages.items())]
    assert ages == [0, 2, 2, 0, 2, 2]
    assert [values["updates"] for _, values in sorted(messages.items())] == [2, 4, 6, 8, 10, 12]
