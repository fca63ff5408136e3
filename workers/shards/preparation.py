"""Making a job's definition ready for the trainer on this host: from names to paths, and to the
trainer's command line.
"""

from __future__ import annotations

import fcntl
import json
from pathlib import Path
from typing import Any

from django.conf import settings

import trainer.spec
from trainer.spec.jobs import load_job
from webapp.base import endpoints
from webapp.ingest import files
from webapp.jobs.models import Copy, Job
from webapp.runs.branches import checkpoint_of
from webapp.runs.models import Checkpoint, Run
from workers.attempt.preparation import Unresolved, resolve_data, resolve_model
from workers.attempt.shim import write_atomically


def prepare(copy: Copy, folder: Path, out: Path) -> list[str]:
    """Write the resolved definition into the copy's folder and return the trainer's arguments.
    Raises Unresolved.
    """
    job = copy.shard.job
    path = folder / "job.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        spec = load_job(resolved(job))
        write_atomically(path, spec.model_dump(mode="json"))
    except trainer.spec.SpecError as error:
        raise Unresolved(str(error)) from error
    except OSError as error:
        raise Unresolved(f"The folder of the part cannot be written: {error.strerror}.") from error
    return [
        "shard",
        str(path),
        "--part",
        str(copy.shard.part),
        "--of",
        str(job.shards.count()),
        "--out",
        str(out),
    ]


def resolved(job: Job) -> dict[str, Any]:
    """A copy of the job's definition in which every location is one that the trainer can open on
    this host. Raises Unresolved.
    """
    spec: dict[str, Any] = json.loads(json.dumps(job.spec))
    model, problems = spec["model"], spec["problems"]
    match model["kind"]:
        case "model":
            model["model"] = resolve_model(model["model"], job.team, "model.model")
        case "checkpoint" if model["checkpoint"].startswith("checkpoint:"):
            model["checkpoint"] = f"file:{_checkpoint_folder(model['checkpoint'], job)}"
        case "checkpoint":
            raise Unresolved(
                "model.checkpoint: name a checkpoint of a run here, as checkpoint:<run>@<step>."
            )
        case "endpoint" if not endpoints.is_allowed(model["url"]):
            raise Unresolved(f"model.url {endpoints.refusal()}")
    if problems["kind"] == "file":
        resolve_data(problems, job.team, "problems.path")
    return spec


def _checkpoint_folder(uri: str, job: Job) -> Path:
    """The checkpoint on this host, below a folder that says as its run's does what it belongs to.
    Raises Unresolved.
    """
    stored = checkpoint_of(uri, job.team)
    if stored is None:
        raise Unresolved(f"model.checkpoint: the team has no {uri} any more. Choose another one.")
    run = stored.run
    root = Path(settings.STILLROOM_STATE) / "checkpoints" / run.public_id
    folder = root / "attempts" / str(stored.attempt) / "checkpoints" / f"step-{stored.step:08d}"
    root.mkdir(parents=True, exist_ok=True)
    with (root / "lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            _lay_out(run, stored, root, folder)
    return folder


def _lay_out(run: Run, stored: Checkpoint, root: Path, folder: Path) -> None:
    """The definition first and the folder last: where the folder is, everything is."""
    unfinished = folder.with_name(f".incoming-{folder.name}")
    try:
        definition = trainer.spec.to_dict(trainer.spec.load(run.spec or {}))
        student = definition["networks"]["student"]
        student["model"] = resolve_model(student["model"], run.team, "networks.student.model")
        write_atomically(root / "spec.json", definition)
        files.restore(stored, unfinished)
        unfinished.rename(folder)
    except FileNotFoundError as error:
        raise Unresolved(
            f"model.checkpoint: the store has lost a file of it ({error}). Choose another one."
        ) from error
    except trainer.spec.SpecError as error:
        raise Unresolved(
            f"model.checkpoint: the definition of its run cannot be read: {error}"
        ) from error
