"""Prepares a run's folder on this host: names in the spec become paths, then a command line.

`dataset:` and `model:` name uploads of the run's team. `file:` is allowed only under the folders in
STILLROOM_FILE_ROOTS. `builtin:` and `hub:` are resolved by the trainer itself.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.conf import settings

import trainer.spec
from webapp.access import secrets
from webapp.access.models import Team
from webapp.base import endpoints
from webapp.library import artifacts, locations
from webapp.library.models import StoredModel
from webapp.nodes.allocation_keys import attempt_key
from webapp.runs.models import Attempt, Checkpoint, Run
from workers.attempt import checkpoints, rendezvous
from workers.attempt.exit_recorder import write_atomically
from workers.attempt.trainer_process import secret_variables
from workers.database import retry_on_outage
from workers.machine import allocation, host


class PreparationError(Exception):
    """The attempt cannot start on this host.

    The message says which name in the spec cannot be resolved, or what the machine lacks; `remedy`
    says what to do.
    """

    def __init__(self, message: str, remedy: str = "Correct it in a clone of this run.") -> None:
        super().__init__(message)
        self.remedy = remedy


def prepare(run: Run, attempt: Attempt, number: int = 0) -> list[str]:
    """Write the resolved spec, fetch the checkpoint and return the trainer's arguments.

    `number` is this machine's number within the attempt. The leading machine, 0, chooses address
    and checkpoint for all. Raises PreparationError.
    """
    folder = host.run_folder(run.public_id)
    machines = attempt.members.count() + 1
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Loaded twice: `resolve` needs all fields, defaults included, and its result is checked
        # again.
        spec = trainer.spec.load(
            resolve(trainer.spec.to_dict(trainer.spec.load(run.spec or {})), run.team)
        )
        write_atomically(folder / "spec.json", spec.model_dump(mode="json"))
        checkpoint = _initial_checkpoint(run, attempt, folder)
        if machines > 1:
            rendezvous.choose(attempt, checkpoint)
    except trainer.spec.SpecError as error:
        raise PreparationError(str(error)) from error
    except rendezvous.Unreachable as error:
        raise PreparationError(str(error), "Set it and resume.") from error
    except OSError as error:
        raise PreparationError(f"The run's folder cannot be written: {error.strerror}.") from error
    peers = rendezvous.arguments(attempt, machines, number) if machines > 1 else []
    return _command(attempt, folder, checkpoint, machines) + peers


def trainer_environment(run: Run, attempt: Attempt) -> dict[str, str]:
    """Return the trainer's variables on this host: its devices, threads and secrets."""
    key = attempt_key(run.public_id, attempt.number)
    devices = retry_on_outage(lambda: allocation.allocated_here(key))
    spec = run.spec or {}
    threads = spec.get("compute", {}).get("threads", 1)
    networks = spec.get("networks", {})
    teachers = [networks.get("teacher", {})]
    teachers += [specialist["teacher"] for specialist in networks.get("specialists", ())]
    # OpenMP reads its variable when torch is loaded, so it cannot be set by the trainer itself.
    return {
        **allocation.device_environment(devices),
        **{
            name: value
            for teacher in teachers
            for name, value in secret_variables(teacher.get("key")).items()
        },
        "OMP_NUM_THREADS": str(threads),
    }


def _initial_checkpoint(run: Run, attempt: Attempt, folder: Path) -> Checkpoint | None:
    """Fetch and return the checkpoint to resume from; None to start at step 0.

    It is the newest one, or the one that the leading machine has chosen. Raises PreparationError if
    that one is not in the artifact store any more.
    """
    if attempt.meeting is None:
        return checkpoints.fetch_newest(run, folder) if attempt.number > 1 else None
    if attempt.meeting["checkpoint"] is None:
        return None
    try:
        checkpoint = run.checkpoints.get(pk=attempt.meeting["checkpoint"])
        checkpoints.fetch(checkpoint, folder)
    except (Checkpoint.DoesNotExist, FileNotFoundError, artifacts.DamagedArtifact) as error:
        raise PreparationError(
            "The checkpoint to resume from is not in the artifact store any more.",
            "Resume from an earlier one.",
        ) from error
    return checkpoint


def _command(
    attempt: Attempt, folder: Path, checkpoint: Checkpoint | None, machines: int
) -> list[str]:
    if attempt.number == 1:
        return ["run", str(folder / "spec.json"), "--dir", str(folder), "--attempt", "1"]
    if checkpoint:
        start = ["--from", str(checkpoints.folder_of(checkpoint, folder))]
    else:
        # Without a stored checkpoint a single machine may find one on its own disk. Several
        # machines start from step 0, because all must start from the same state.
        start = ["--anew"] if machines > 1 else []
    return ["resume", str(folder), "--attempt", str(attempt.number), *start]


def resolve(spec: dict[str, Any], team: Team) -> dict[str, Any]:
    """Return a copy of a whole `spec` with locations that the trainer can open on this host.

    Raises PreparationError with the field's path if one cannot be resolved.
    """
    # The definition of the run keeps the names: other hosts resolve them for themselves.
    resolved = copy.deepcopy(spec)
    networks = resolved["networks"]
    student = networks["student"]
    student["model"] = resolve_model(student["model"], team, "networks.student.model")
    _teacher(networks["teacher"], team, "networks.teacher")
    for index, specialist in enumerate(networks["specialists"]):
        _teacher(specialist["teacher"], team, f"networks.specialists.{index}.teacher")
    for role in ("train", "evaluation", "retained"):
        problems = resolved["data"].get(role)
        if problems and problems["kind"] == "file":
            resolve_data(problems, team, f"data.{role}.path")
    return resolved


def _teacher(teacher: dict[str, Any], team: Team, field: str) -> None:
    match teacher["kind"]:
        case "model":
            teacher["model"] = resolve_model(teacher["model"], team, f"{field}.model")
        case "texts":
            resolve_data(teacher, team, f"{field}.path")
        case "endpoint":
            check_endpoint(teacher, team, field)
        case "served":
            _served_teacher(teacher, team, field)


def _served_teacher(teacher: dict[str, Any], team: Team, field: str) -> None:
    if not all(map(endpoints.is_allowed, teacher["urls"])):
        raise PreparationError(f"{field}.urls {endpoints.refusal()}")
    if problem := secrets.refusal(teacher.get("key"), team):
        raise PreparationError(f"{field}.key {problem}.")
    teacher["tokenizer"] = resolve_model(teacher["tokenizer"], team, f"{field}.tokenizer")
    for section, name in (("gives", "head"), ("check", "model")):
        if uri := teacher[section].get(name):
            teacher[section][name] = resolve_model(uri, team, f"{field}.{section}.{name}")


def check_endpoint(model: dict[str, Any], team: Team, field: str) -> None:
    """Raise PreparationError if the team may not ask the endpoint, or not with that secret."""
    if not endpoints.is_allowed(model["url"]):
        raise PreparationError(f"{field}.url {endpoints.refusal()}")
    if problem := secrets.refusal(model.get("key"), team):
        raise PreparationError(f"{field}.key {problem}.")


def resolve_data(problems: dict[str, Any], team: Team, field: str) -> None:
    """Replace the file's name by its path, and set its format if the section has one.

    Raises PreparationError.
    """
    uri = problems["path"]
    with _named_field(uri, field):
        if data_set := locations.data_set(uri, team):
            problems["path"] = f"file:{artifacts.local_path(data_set.artifact.sha256)}"
            if "format" in problems:
                problems["format"] = data_set.format
        elif uri.startswith("file:"):
            problems["path"] = f"file:{locations.path_below_root(uri.removeprefix('file:'))}"


def resolve_model(uri: str, team: Team, field: str) -> str:
    """Return a URI of the model that the trainer can open on this host. Raises PreparationError."""
    with _named_field(uri, field):
        if model := locations.stored_model(uri, team):
            return f"file:{_model_folder(model)}"
        if uri.startswith("file:"):
            return f"file:{locations.path_below_root(uri.removeprefix('file:'))}"
    return uri


@contextmanager
def _named_field(uri: str, field: str) -> Iterator[None]:
    """Raise a LocationError of the block as PreparationError with the field and its location."""
    try:
        yield
    except locations.LocationError as error:
        raise PreparationError(f"{field} ({uri}) {error}.") from error


def _model_folder(model: StoredModel) -> Path:
    """Return a folder with the model's files under their own names, as links into the store."""
    folder = Path(settings.STILLROOM_STATE) / "models" / model.hash
    folder.mkdir(parents=True, exist_ok=True)
    for name, digest in model.manifest.items():
        link = folder / Path(name).name
        # Replaced by a rename, because another trainer may be reading through the old link.
        scratch = link.with_name(f".{link.name}.{os.getpid()}")
        scratch.unlink(missing_ok=True)
        scratch.symlink_to(artifacts.local_path(digest))
        scratch.rename(link)
    return folder
