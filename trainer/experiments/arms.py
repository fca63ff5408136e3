"""Runs that differ in one thing, carried out one after the other: arms × seeds over a common run
definition.

An arm is a set of changes to the definition, as `field.path = value`. Each (arm, seed) is one
`python -m trainer run` in a process of its own with a folder of its own; one that has completed is
not run again, so that a broken-off experiment goes on where it was.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from trainer import events
from trainer.spec import load

Changes = Mapping[str, Any]


def changed(definition: Mapping[str, Any], changes: Changes) -> dict[str, Any]:
    """The definition with the values at the dotted paths replaced. Raises the errors of
    `trainer.spec.load` for what makes no sense.
    """
    result = deepcopy(dict(definition))
    for path, value in changes.items():
        *parents, last = path.split(".")
        section: Any = result
        for parent in parents:
            section = section[int(parent)] if isinstance(section, list) else section[parent]
        section[last] = value
    return load(result).model_dump(mode="json")


def carry_out(
    definition: Mapping[str, Any], folder: Path, base: Path | None = None
) -> list[dict[str, Any]]:
    """Run a definition in `folder` unless it has completed there; return its events.

    With `base`, the folder of a run that differs in its weights alone, the run goes on from that
    one's checkpoint of step 0, which holds what the untrained student scored and its pass rates.
    Raises RuntimeError if the run does not complete.
    """
    if not completed(folder):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / "spec.json").write_text(json.dumps(definition))
        anew = ["run", str(folder / "spec.json"), "--dir", str(folder)]
        command = ["resume", str(folder), "--from", str(start_of(base))] if base else anew
        ended = subprocess.run(
            [sys.executable, "-m", "trainer", *command, "--attempt", "1"], check=False
        )
        if ended.returncode:
            raise RuntimeError(
                f"the run in {folder} ended with code {ended.returncode}; the last lines of its log say why"
            )
    return list(log(folder))


def start_of(folder: Path) -> Path:
    """A run's checkpoint of step 0, made when pass rates and teacher answers were there."""
    return folder / "attempts" / "1" / "checkpoints" / "step-00000000"


def completed(folder: Path) -> bool:
    return any(event["type"] == "end" and event["outcome"] == "completed" for event in log(folder))


def log(folder: Path) -> Iterator[dict[str, Any]]:
    """The events of a run's first attempt."""
    written = folder / "attempts" / "1" / "events"
    return events.read(written) if written.is_dir() else iter(())
