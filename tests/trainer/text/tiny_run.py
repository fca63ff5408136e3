"""Whole runs in seconds: the built-in pair on few problems, through the trainer's entry points."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainer.events import read
from trainer.spec import RunSpec, load, to_dict
from trainer.text import run

CLOCK = ("time/", "time_share/", "memory/", "tokens_per_second")


def spec(**changes: Any) -> RunSpec:
    """Return a definition of two stages of four steps over a pool of a dozen problems.

    It has several passes over the pool, both sources and both divergences.
    """
    sampling = {"max_new_tokens": 24}
    definition: dict[str, Any] = {
        "name": "tiny",
        "data": {
            "train": {
                "kind": "arithmetic",
                "families": ["add", "sub"],
                "levels": [1, 2],
                "count": 16,
                "seed": 1,
            },
            "evaluation": {
                "kind": "arithmetic",
                "families": ["add", "sub"],
                "levels": [1, 2],
                "count": 12,
                "seed": 2,
            },
        },
        "pool": {
            "rollouts_per_problem": 4,
            "weighting": {"kind": "uniform"},
            "track_problems": 4,
            "sampling": sampling,
        },
        "stages": [
            {
                "name": "written",
                "source": "teacher_written",
                "objective": {"kind": "forward_kl"},
                "problems_per_step": 6,
                "until": {"steps": 4},
                "rollouts": {"generate": {"sampling": sampling}},
            },
            {
                "name": "own",
                "objective": {"kind": "reverse_kl"},
                "problems_per_step": 6,
                "until": {"steps": 4},
                "rollouts": {"generate": {"per_problem": 2, "sampling": sampling}},
            },
        ],
        "evaluation": {
            "every": 3,
            "final_samples": 2,
            "pass_at": [1, 2],
            "sampling": sampling,
            "ema_decay": 0.5,
        },
        "checkpoints": {"every": 2, "keep_last": 2},
        "record": {"every": 2, "rollouts": 4},
    }
    return load(merged(definition, changes))


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with the changes merged key by key; a mapping of another kind replaces it."""
    result = dict(base)
    for key, value in changes.items():
        old = result.get(key)
        nested = (
            isinstance(old, Mapping)
            and isinstance(value, Mapping)
            and old.get("kind") == value.get("kind", old.get("kind"))
        )
        result[key] = merged(old, value) if nested and isinstance(old, Mapping) else value
    return result


def start(definition: RunSpec, folder: Path) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "definition.json").write_text(json.dumps(to_dict(definition)))
    return run.start(folder / "definition.json", folder)


def events(folder: Path, *types: str, attempt: int = 1) -> list[dict[str, Any]]:
    return [
        event
        for event in read(folder / "attempts" / str(attempt) / "events")
        if not types or event["type"] in types
    ]


def live(folder: Path) -> list[dict[str, Any]]:
    """The events of all attempts joined at their rewinds, as a chart shows them."""
    joined: list[dict[str, Any]] = []
    for attempt in sorted(int(path.name) for path in (folder / "attempts").iterdir()):
        for event in events(folder, attempt=attempt):
            if event["type"] == "rewind":
                joined = [earlier for earlier in joined if earlier.get("step", 0) <= event["step"]]
            joined.append(event)
    return joined


def numbers(folder: Path) -> dict[tuple[int, str], float]:
    """Every metric by (step, key), without what the clock or the machine decides."""
    return {
        (event["step"], key): value
        for event in live(folder)
        if event["type"] == "metrics"
        for key, value in {
            **event["values"],
            "tokens": event["tokens"],
            "compute": event["compute"],
        }.items()
        if not key.startswith(CLOCK)
    }


def final_hash(folder: Path) -> str:
    """Hash of all tensors in the last checkpoint of the last attempt."""
    attempt = max((folder / "attempts").iterdir(), key=lambda path: int(path.name))
    newest = max((attempt / "checkpoints").glob("step-*"))
    digest = hashlib.sha256()
    for path in sorted(newest.glob("*.safetensors")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def end(folder: Path, attempt: int = 1) -> dict[str, Any]:
    return events(folder, "end", attempt=attempt)[-1]
