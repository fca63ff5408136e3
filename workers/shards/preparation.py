"""Prepares a job's definition for the trainer on this host: names become paths."""

from __future__ import annotations

import fcntl
import shutil
from copy import deepcopy
from pathlib import Path
from typing import Any

import trainer.spec
from trainer.spec.jobs import load_job
from webapp.ingest import files
from webapp.jobs.models import Copy, Job
from webapp.library.artifacts import INCOMING
from webapp.runs.branches import checkpoint_of
from webapp.runs.models import Checkpoint, Run
from workers.attempt.exit_recorder import write_atomically
from workers.attempt.preparation import (
    PreparationError,
    check_endpoint,
    resolve_data,
    resolve_model,
    resolve_served,
)
from workers.machine import host


def prepare(copy: Copy, folder: Path, out: Path) -> list[str]:
    """Write the resolved definition into the copy's folder and return the trainer's arguments.

    Raises PreparationError.
    """
    job = copy.shard.job
    path = folder / "job.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        spec = load_job(resolved(job))
        write_atomically(path, spec.model_dump(mode="json"))
    except trainer.spec.SpecError as error:
        raise PreparationError(str(error)) from error
    except OSError as error:
        raise PreparationError(
            f"The folder of the part cannot be written: {error.strerror}."
        ) from error
    number, count = str(copy.shard.part), str(job.shards.count())
    return ["shard", str(path), "--part", number, "--of", count, "--out", str(out)]


def resolved(job: Job) -> dict[str, Any]:
    """Return a copy of the definition with locations that the trainer can open on this host.

    Raises PreparationError.
    """
    spec: dict[str, Any] = deepcopy(job.spec)
    model, problems = spec["model"], spec["problems"]
    match model["kind"]:
        case "model":
            model["model"] = resolve_model(model["model"], job.team, "model.model")
        case "checkpoint" if model["checkpoint"].startswith("checkpoint:"):
            model["checkpoint"] = f"file:{_checkpoint_folder(model['checkpoint'], job)}"
        case "checkpoint":
            raise PreparationError(
                "model.checkpoint: name a checkpoint of a run here, as checkpoint:<run>@<step>."
            )
        case "endpoint":
            check_endpoint(model, job.team, "model")
        case "served":
            resolve_served(model, job.team, "model")
    if problems["kind"] == "file":
        resolve_data(problems, job.team, "problems.path")
    return spec


def _checkpoint_folder(uri: str, job: Job) -> Path:
    """Return the checkpoint's folder on this host; restore it if it is missing.

    The folders around it are those of a run: the trainer reads the definition from `spec.json` at
    their top. Raises PreparationError.
    """
    checkpoint = checkpoint_of(uri, job.team)
    if checkpoint is None:
        raise PreparationError(
            f"model.checkpoint: the team has no {uri} any more. Choose another one."
        )
    root = host.restored_checkpoints_folder() / checkpoint.run.public_id
    attempt_folder = root / "attempts" / str(checkpoint.attempt)
    folder = attempt_folder / "checkpoints" / f"step-{checkpoint.step:08d}"
    root.mkdir(parents=True, exist_ok=True)
    with (root / "lock").open("ab") as lock:
        # Parts of one job start at the same time.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            _restore(checkpoint.run, checkpoint, root, folder)
    return folder


def _restore(run: Run, checkpoint: Checkpoint, root: Path, folder: Path) -> None:
    # The folder is renamed last: if it exists, definition and files are complete.
    unfinished = folder.with_name(f"{INCOMING}{folder.name}")
    # A runner may have been killed while it restored the same checkpoint.
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        definition = trainer.spec.to_dict(trainer.spec.load(run.spec or {}))
        student = definition["networks"]["student"]
        student["model"] = resolve_model(student["model"], run.team, "networks.student.model")
        write_atomically(root / "spec.json", definition)
        files.restore(checkpoint, unfinished)
        unfinished.rename(folder)
    except FileNotFoundError as error:
        raise PreparationError(
            f"model.checkpoint: the store has lost a file of it ({error}). Choose another one."
        ) from error
    except trainer.spec.SpecError as error:
        raise PreparationError(
            f"model.checkpoint: the definition of its run cannot be read: {error}"
        ) from error
