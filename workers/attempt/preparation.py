"""Making a run's folder on this host ready: from the names in a spec to paths, and to the trainer's
command line.

`dataset:` and `model:` name what the run's team has uploaded, `file:` is allowed under the
operator's roots only, `builtin:` and `hub:` are the trainer's own business.
"""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import Any

from django.conf import settings

import trainer.spec
from webapp.access.models import Team
from webapp.base import endpoints
from webapp.library import artifacts
from webapp.library.models import DataSet, StoredModel
from webapp.nodes.holders import holder_of
from webapp.runs.models import Attempt, Checkpoint, Run
from workers.attempt import checkpoints, rendezvous
from workers.attempt.shim import write_atomically
from workers.machine import allocation, host
from workers.retry import persist


class Unresolved(Exception):
    """A name in the spec leads nowhere, or a machine has not what it needs; the message says which,
    `remedy` what to do.
    """

    def __init__(self, message: str, remedy: str = "Correct it in a clone of this run.") -> None:
        super().__init__(message)
        self.remedy = remedy


def prepare(run: Run, attempt: Attempt, number: int = 0) -> list[str]:
    """Make the run's folder ready and return the trainer's arguments, as machine `number` of the
    attempt's. Raises Unresolved.

    The leading machine, 0, settles before where they meet and from which checkpoint all begin.
    """
    folder = host.run_folder(run.public_id)
    machines = attempt.members.count() + 1
    try:
        folder.mkdir(parents=True, exist_ok=True)
        spec = trainer.spec.load(
            resolve(trainer.spec.to_dict(trainer.spec.load(run.spec or {})), run.team)
        )
        write_atomically(folder / "spec.json", spec.model_dump(mode="json"))
        checkpoint = _beginning(run, attempt, folder)
        if machines > 1:
            rendezvous.arrange(attempt, checkpoint)
    except trainer.spec.SpecError as error:
        raise Unresolved(str(error)) from error
    except rendezvous.Unreachable as error:
        raise Unresolved(str(error), "Set it and resume.") from error
    except OSError as error:
        raise Unresolved(f"The run's folder cannot be written: {error.strerror}.") from error
    return [
        *_command(attempt, folder, checkpoint, machines),
        *(rendezvous.arguments(attempt, machines, number) if machines > 1 else []),
    ]


def exported(run: Run, attempt: Attempt) -> dict[str, str]:
    """The environment of the run's trainer on this host: the devices that it was lent here, and its
    threads.
    """
    lent = persist(lambda: allocation.held_here(holder_of(run.public_id, attempt.number)))
    return {
        **allocation.exported(lent),
        "OMP_NUM_THREADS": str((run.spec or {}).get("compute", {}).get("threads", 1)),
    }


def _beginning(run: Run, attempt: Attempt, folder: Path) -> Checkpoint | None:
    """The checkpoint that the attempt goes on from, now on this host: the newest, or the one that
    its machines have settled on.
    """
    if attempt.meeting is None:
        return checkpoints.bring_newest(run, folder) if attempt.number > 1 else None
    if attempt.meeting["checkpoint"] is None:
        return None
    try:
        settled = run.checkpoints.get(pk=attempt.meeting["checkpoint"])
        checkpoints.bring(settled, folder)
    except (Checkpoint.DoesNotExist, FileNotFoundError, artifacts.Damaged) as error:
        raise Unresolved(
            "The checkpoint to go on from is not in the artifact store any more.",
            "Resume from an earlier one.",
        ) from error
    return settled


def _command(
    attempt: Attempt, folder: Path, checkpoint: Checkpoint | None, machines: int
) -> list[str]:
    """Without a stored checkpoint one machine looks for one of its own; several begin anew, for
    they must begin alike.
    """
    if attempt.number == 1:
        return ["run", str(folder / "spec.json"), "--dir", str(folder), "--attempt", "1"]
    alike = ["--anew"] if machines > 1 else []
    chosen = ["--from", str(checkpoints.place_of(checkpoint, folder))] if checkpoint else alike
    return ["resume", str(folder), "--attempt", str(attempt.number), *chosen]


def resolve(spec: dict[str, Any], team: Team) -> dict[str, Any]:
    """A copy of a whole `spec` in which every location is one that the trainer can open on this
    host. Raises Unresolved.
    """
    resolved = copy.deepcopy(spec)
    networks = resolved["networks"]
    loaded = {"networks.student": networks["student"]}
    loaded |= {
        f"networks.specialists.{at}.teacher": one["teacher"]
        for at, one in enumerate(networks["specialists"])
    }
    for path, network in loaded.items():
        network["model"] = resolve_model(network["model"], team, f"{path}.model")
    _teacher(networks["teacher"], team)
    for role in ("train", "evaluation", "retained"):
        problems = resolved["data"].get(role)
        if problems and problems["kind"] == "file":
            resolve_data(problems, team, f"data.{role}.path")
    return resolved


def _teacher(teacher: dict[str, Any], team: Team) -> None:
    match teacher["kind"]:
        case "model":
            teacher["model"] = resolve_model(teacher["model"], team, "networks.teacher.model")
        case "texts":
            resolve_data(teacher, team, "networks.teacher.path")
        case "endpoint" if not endpoints.is_allowed(teacher["url"]):
            raise Unresolved(f"networks.teacher.url {endpoints.refusal()}")


def resolve_data(problems: dict[str, Any], team: Team, field: str) -> None:
    """Put the file's path in place of its name, and its format where the section has one. Raises
    Unresolved.
    """
    scheme, _, rest = problems["path"].partition(":")
    if scheme == "dataset":
        name, _, fingerprint = rest.partition("@")
        stored = (
            DataSet.objects.filter(team=team, name=name, fingerprint=fingerprint)
            .select_related("artifact")
            .first()
        )
        if stored is None:
            raise Unresolved(
                f"{field}: the team has no data set '{rest}'. Upload it again or choose another one."
            )
        problems["path"] = f"file:{artifacts.local_path(stored.artifact.sha256)}"
        if "format" in problems:
            problems["format"] = stored.format
    elif scheme == "file":
        problems["path"] = f"file:{allowed_path(rest, field)}"


def resolve_model(uri: str, team: Team, field: str) -> str:
    """The name of a model as the trainer can open it on this host. Raises Unresolved."""
    scheme, _, rest = uri.partition(":")
    if scheme == "model":
        name, _, digest = rest.partition("@")
        stored = StoredModel.objects.filter(team=team, name=name, hash=digest).first()
        if stored is None:
            raise Unresolved(
                f"{field}: the team has no model '{rest}'. Upload it again or choose another one."
            )
        return f"file:{_model_folder(stored)}"
    if scheme == "file":
        return f"file:{allowed_path(rest, field)}"
    return uri


def _model_folder(stored: StoredModel) -> Path:
    """Lay the stored files out under their own names, as links into the store."""
    folder = Path(settings.STILLROOM_STATE) / "models" / stored.hash
    folder.mkdir(parents=True, exist_ok=True)
    for name, digest in stored.manifest.items():
        link = folder / Path(name).name
        scratch = link.with_name(f".{link.name}.{os.getpid()}")
        scratch.unlink(missing_ok=True)
        scratch.symlink_to(artifacts.local_path(digest))
        scratch.rename(link)
    return folder


def allowed_path(path: str, field: str) -> Path:
    """The real path, if an operator's root holds it. Raises Unresolved."""
    real = Path(path).resolve()
    if not any(real.is_relative_to(Path(root).resolve()) for root in settings.STILLROOM_FILE_ROOTS):
        raise Unresolved(
            f"{field}: '{path}' is not under a folder that this server may read (STILLROOM_FILE_ROOTS). Upload it instead."
        )
    return real
