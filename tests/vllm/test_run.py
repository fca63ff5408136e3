"""A whole run whose answers a vLLM server samples: every step's weights arrive, and both families
of objectives learn from them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.trainer.text.tiny_run import end, events, spec, start


@pytest.mark.parametrize("objective", ["reverse_kl", "grpo"])
def test_a_run_samples_with_vllm_and_learns(tmp_path: Path, objective: str) -> None:
    stage: dict[str, Any] = {
        "name": "own",
        "objective": {"kind": objective},
        "problems_per_step": 4,
        "until": {"steps": 3},
        "rollouts": {"generate": {"per_problem": 4, "sampling": {"max_new_tokens": 24}}},
    }
    definition = spec(
        stages=[stage], compute={"sampler": {"kind": "vllm", "memory": 0.25}}, record={"every": 1}
    )
    assert start(definition, tmp_path) == 0, end(tmp_path)
    messages = events(tmp_path, "pipeline")
    assert len(messages) == 3
    for event in messages:
        assert event["rows"] == 16 and event["generated"] == event["consumed"] > 16
    losses = [
        event["values"]["loss"]
        for event in events(tmp_path, "metrics")
        if "loss" in event["values"]
    ]
    assert len(losses) == 3
    warnings = [event for event in events(tmp_path, "log") if event["level"] == "warning"]
    # An untrained student may be warned of for its answers, but not its sampler.
    assert not [event for event in warnings if "vLLM" in event["message"]]
