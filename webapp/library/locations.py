"""Models and data sets that a team can choose, and the files that a location in a definition means.

A location is a URI such as `model:<name>@<hash>`, `dataset:<name>@<fingerprint>`, `file:<path>`,
`builtin:<name>` or `hub:<name>`. What only a trainer can read (the hub) gives None; what cannot be
used raises LocationError with what to do. Pages and workers both look locations up here; the value
of `secret:<name>` is known to the trainer alone.
"""

from __future__ import annotations

from pathlib import Path

from django.conf import settings

from trainer.text import builtin
from webapp.access.models import Team
from webapp.library import artifacts, model_files, model_reader, stored_models
from webapp.library.model_files import Folder, ModelFacts
from webapp.library.models import DataSet, StoredModel

BUILTIN = Path(builtin.__file__).parent
BUILTIN_LABELS = {
    folder.name: f"Built-in {folder.name}"
    for folder in sorted(BUILTIN.iterdir())
    if (folder / "config.json").is_file()
}


NOT_READABLE = (
    "is nothing that this server may read (the operator allows folders by STILLROOM_FILE_ROOTS); "
    "upload it instead"
)


class LocationError(ValueError):
    """A location that cannot be used; the message continues a sentence after the field's name."""


def models_of(team: Team) -> list[StoredModel]:
    return list(StoredModel.objects.filter(team=team).order_by("name", "-created_at"))


def data_of(team: Team) -> list[DataSet]:
    """Return the team's data sets by name, those that are held out last."""
    return list(DataSet.objects.filter(team=team).order_by("is_held_out", "name", "-created_at"))


def uri_of_model(model: StoredModel) -> str:
    return f"model:{model.name}@{model.hash}"


def uri_of_data(data: DataSet) -> str:
    return f"dataset:{data.name}@{data.fingerprint}"


def model_folder(uri: str, team: Team) -> Folder | None:
    """Return the files of a model by name; None for the hub. Raises LocationError."""
    scheme, _, target = uri.partition(":")
    if scheme == "builtin":
        return builtin_folder(target)
    if model := stored_model(uri, team):
        return stored_models.folder_of(model)
    if scheme != "file":
        return None
    folder = allowed_path(target)
    if not folder.is_dir():
        raise LocationError("is a file, not a model folder; name the folder that holds config.json")
    return model_files.folder_at(folder)


def model_facts(uri: str, team: Team) -> ModelFacts | None:
    """Return what a model's files state; None for the hub. Raises LocationError, UnusableModel."""
    if model := stored_model(uri, team):
        return stored_models.facts_of(model)
    folder = model_folder(uri, team)
    return model_reader.facts(folder) if folder is not None else None


def stored_model(uri: str, team: Team) -> StoredModel | None:
    """Return the row of a `model:` location; None for any other location.

    Raises LocationError if the team has no such model.
    """
    scheme, _, target = uri.partition(":")
    if scheme != "model":
        return None
    name, _, hash = target.partition("@")
    rows = StoredModel.objects.filter(team=team, name=name, hash=hash).select_related("team")
    row = rows.first()
    if row is None:
        raise LocationError(
            "names a model that the team does not have; choose another one or upload it"
        )
    return row


def data_set(uri: str, team: Team) -> DataSet | None:
    """Return the row of a `dataset:` location; None for any other location.

    Raises LocationError if the team has no such data set.
    """
    scheme, _, target = uri.partition(":")
    if scheme != "dataset":
        return None
    name, _, fingerprint = target.partition("@")
    row = (
        DataSet.objects.filter(team=team, name=name, fingerprint=fingerprint)
        .select_related("artifact")
        .first()
    )
    if row is None:
        raise LocationError(
            "names a data set that the team does not have; choose another one or upload it"
        )
    return row


def data_path(uri: str, team: Team) -> Path | None:
    """Return the file of a data set; None for the hub. Raises LocationError."""
    if row := data_set(uri, team):
        return artifacts.path(team, row.artifact.sha256)
    scheme, _, target = uri.partition(":")
    return allowed_path(target) if scheme == "file" else None


def allowed_path(path: str) -> Path:
    """Return the real path if it exists below one of the operator's roots.

    Raises the same LocationError for a forbidden and a missing path, so that nobody can find out
    which files exist.
    """
    real = path_below_root(path)
    try:
        if real.exists():
            return real
    except OSError:
        # The name is too long.
        pass
    raise LocationError(NOT_READABLE)


def path_below_root(path: str) -> Path:
    """Return the real path, which need not exist.

    Raises LocationError if it is not below one of the operator's roots.
    """
    try:
        # Resolved before it is compared: a link below a root, or `..`, may lead out of it.
        real = Path(path).resolve()
        if any(real.is_relative_to(root.resolve()) for root in settings.STILLROOM_FILE_ROOTS):
            return real
    except (OSError, ValueError, RuntimeError):
        # A loop of links, or a NUL character in the name.
        pass
    raise LocationError(NOT_READABLE)


def builtin_folder(name: str) -> Folder:
    """Return the files of a built-in model by name. Raises LocationError."""
    if name not in BUILTIN_LABELS:
        choices = ", ".join(f"builtin:{label}" for label in BUILTIN_LABELS)
        raise LocationError(f"is no built-in model; there is {choices}")
    return model_files.folder_at(BUILTIN / name)
