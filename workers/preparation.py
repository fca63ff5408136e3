"""Making a run's folder on this host ready: from the names in a spec to paths, and to the trainer's command line.

`dataset:` and `model:` name what the run's team has uploaded, `file:` is allowed under the operator's roots only, `builtin:` and
`hub:` are the trainer's own business.
"""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import Any

from django.conf import settings

import trainer.spec
from webapp import artifacts
from webapp.runs.models import Attempt, DataSet, Run, StoredModel
from webapp.teams.models import Team
from workers import host
from workers.shim import write_atomically


class Unresolved(Exception):
    """A name in the spec leads nowhere; the message says which and what to do."""


def prepare(run: Run, attempt: Attempt) -> list[str]:
    """Write the resolved definition into the run's folder and return the trainer's arguments. Raises Unresolved."""
    folder = host.run_folder(run.public_id)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        spec = trainer.spec.load(resolve(run.spec or {}, run.team))
        write_atomically(folder / "spec.json", spec.model_dump(mode="json"))
    except trainer.spec.SpecError as error:
        raise Unresolved(str(error)) from error
    except OSError as error:
        raise Unresolved(f"The run's folder cannot be written: {error.strerror}.") from error
    if attempt.number == 1:
        return ["run", str(folder / "spec.json"), "--dir", str(folder), "--attempt", "1"]
    return ["resume", str(folder), "--attempt", str(attempt.number)]


def resolve(spec: dict[str, Any], team: Team) -> dict[str, Any]:
    """A copy of `spec` in which every location is one that the trainer can open on this host. Raises Unresolved."""
    resolved = copy.deepcopy(spec)
    for role, network in resolved["networks"].items():
        if network:
            network["model"] = _model(network["model"], team, f"networks.{role}.model")
    for role in ("train", "evaluation", "retained"):
        problems = resolved["data"].get(role)
        if problems and problems["kind"] == "file":
            _data(problems, team, f"data.{role}.path")
    return resolved


def _data(problems: dict[str, Any], team: Team, field: str) -> None:
    scheme, _, rest = problems["path"].partition(":")
    if scheme == "dataset":
        name, _, fingerprint = rest.partition("@")
        stored = DataSet.objects.filter(team=team, name=name, fingerprint=fingerprint).select_related("artifact").first()
        if stored is None:
            raise Unresolved(f"{field}: the team has no data set '{rest}'. Upload it again or choose another one.")
        problems["path"] = f"file:{artifacts.local_path(stored.artifact.sha256)}"
        problems["format"] = stored.format
    elif scheme == "file":
        problems["path"] = f"file:{allowed_path(rest, field)}"


def _model(uri: str, team: Team, field: str) -> str:
    scheme, _, rest = uri.partition(":")
    if scheme == "model":
        name, _, digest = rest.partition("@")
        stored = StoredModel.objects.filter(team=team, name=name, hash=digest).first()
        if stored is None:
            raise Unresolved(f"{field}: the team has no model '{rest}'. Upload it again or choose another one.")
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
        raise Unresolved(f"{field}: '{path}' is not under a folder that this server may read (STILLROOM_FILE_ROOTS). Upload it instead.")
    return real
