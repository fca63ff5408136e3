"""Execution of single runs of an experiment, each in a process and a folder of its own.

A run that has completed is not run again, so an interrupted experiment continues where it stopped.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from trainer import events
from trainer.experiments.processes import run_and_record


def execute(
    definition: Mapping[str, Any], folder: Path, base: Path | None = None
) -> list[dict[str, Any]]:
    """Run a definition in `folder` unless it has completed there; return its events.

    `base` is the folder of a run that differs in its problem weights only. The new run then resumes
    from the base's checkpoint of step 0, which holds the untrained student's scores and pass rates.
    The CPU time of the run is stored in its folder. Raises RuntimeError if it does not complete.
    """
    if not has_completed(folder):
        # What an interrupted run has left is deleted, because `run` refuses a folder with a run.
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / "spec.json").write_text(json.dumps(definition))
        if base:
            # Written as soon as pass rates and teacher answers are there, before the first step.
            start = base / "attempts" / "1" / "checkpoints" / "step-00000000"
            command = ["resume", str(folder), "--from", str(start)]
        else:
            command = ["run", str(folder / "spec.json"), "--dir", str(folder)]
        if exit_code := run_and_record(["-m", "trainer", *command, "--attempt", "1"], folder):
            raise RuntimeError(
                f"the run in {folder} ended with code {exit_code}; "
                "the last lines of its log give the reason"
            )
    return list(events_of(folder))


def has_completed(folder: Path) -> bool:
    return any(
        event["type"] == "end" and event["outcome"] == "completed" for event in events_of(folder)
    )


def events_of(folder: Path) -> Iterator[dict[str, Any]]:
    """The events of a run's first attempt."""
    log_folder = folder / "attempts" / "1" / "events"
    return events.read(log_folder) if log_folder.is_dir() else iter(())
