"""PACED, uniform weights and a hard filter on the sample run.

    python -m trainer.experiments.paced_sample --out FOLDER

The arms share student, teacher, problems, steps and optimiser; weights have mean 1 over the kept
pool in each. A seed determines the problems (pool, held-out, retained) and all randomness of the
run, so three seeds are three samples of the whole experiment. What only serves watching a run
(evaluations in between, tracked problems, recorded rollouts) is off; it changes no number here. The
first arm of each seed measures the untrained student, and the others resume from its step 0.

Writes `results.json`: per arm and seed the evaluations before and after, the pool and the losses.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trainer import recipes
from trainer.experiments.arms import apply_changes, execute

ARMS: Mapping[str, Mapping[str, Any]] = {
    "paced": {"pool.weighting": {"kind": "paced", "alpha": 1.0, "beta": 1.0}},
    "uniform": {"pool.weighting": {"kind": "uniform"}},
    "hard_filter": {"pool.weighting": {"kind": "hard_filter", "low": 0.125, "high": 0.875}},
}
# These only serve watching a run; they use noise of their own and change no number of the training.
UNMONITORED = {
    "evaluation.every": 0,
    "pool.track_problems": 0,
    "record.every": 0,
    "checkpoints.every": 0,
}
EVALUATION_FIELDS = (
    "when",
    "role",
    "step",
    "samples",
    "problems",
    "pass_rate",
    "interval",
    "difference",
    "truncated",
    "groups",
)


def definition(arm: str, seed: int) -> dict[str, Any]:
    """The sample run with an arm's weights and `seed` for all randomness."""
    seeds = {"seed": seed, "data.train.seed": seed, "data.retained.seed": seed}
    sample = recipes.load("paced").spec("sample").model_dump(mode="json")
    return apply_changes(
        sample, {"name": f"{arm}, seed {seed}", **ARMS[arm], **seeds, **UNMONITORED}
    )


def outcome(events: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A run's evaluations, last pool and teacher metrics, and losses."""
    measured = [event for event in events if event["type"] == "metrics"]
    last = {
        key: value
        for event in measured
        for key, value in event["values"].items()
        # Each key's last value remains, which is the state at the end of the run.
        if key.startswith(("pool/", "teacher/", "weights/"))
    }
    return {
        "evaluations": [
            {key: event[key] for key in EVALUATION_FIELDS}
            for event in events
            if event["type"] == "evaluation"
        ],
        "pool": last,
        "losses": [
            [event["step"], event["values"]["loss"]]
            for event in measured
            if "loss" in event["values"]
        ],
    }


def compare(seed: int, out: Path) -> list[dict[str, Any]]:
    """The outcome of every arm with one seed; the first arm has the evaluation before the run."""
    folders = {arm: out / f"{arm}-{seed}" for arm in ARMS}
    base = folders[next(iter(ARMS))]
    runs = {
        arm: execute(definition(arm, seed), folder, base if folder != base else None)
        for arm, folder in folders.items()
    }
    return [{"arm": arm, "seed": seed, **outcome(events)} for arm, events in runs.items()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        help="folder of the runs and of results.json; a second call continues there",
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    results = [run for seed in options.seeds for run in compare(seed, options.out)]
    (options.out / "results.json").write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
