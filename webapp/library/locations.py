"""The models and data sets that a team can choose from, and the way from a name in a definition to
files on this server.

A name leads to a folder or file of the team, to one under the operator's roots, or nowhere:
`LocationError` says which and what to do. What only a worker can see (a model or data set of the hub) is
None.
"""

from __future__ import annotations

from pathlib import Path

from django.conf import settings

from trainer.text import builtin
from webapp.access.models import Team
from webapp.library import artifacts, model_files, stored_models
from webapp.library.model_files import Folder
from webapp.library.models import DataSet, StoredModel

BUILTIN = Path(builtin.__file__).parent
BUILTIN_LABELS = {
    folder.name: f"Built-in {folder.name}"
    for folder in sorted(BUILTIN.iterdir())
    if (folder / "config.json").is_file()
}


class LocationError(ValueError):
    """A location that leads to nothing usable; the message follows the field's name as a
    sentence.
    """


def models_of(team: Team) -> list[StoredModel]:
    return list(StoredModel.objects.filter(team=team).order_by("name", "-created_at"))


def data_of(team: Team) -> list[DataSet]:
    return list(DataSet.objects.filter(team=team).order_by("name", "-created_at"))


def uri_of_model(model: StoredModel) -> str:
    return f"model:{model.name}@{model.hash}"


def uri_of_data(data: DataSet) -> str:
    return f"dataset:{data.name}@{data.fingerprint}"


def model_folder(uri: str, team: Team) -> Folder | None:
    """The files of a model. Raises LocationError."""
    scheme, _, rest = uri.partition(":")
    if scheme == "builtin":
        return builtin_folder(rest)
    if scheme == "model":
        name, _, hash = rest.partition("@")
        model = (
            StoredModel.objects.filter(team=team, name=name, hash=hash)
            .select_related("team")
            .first()
        )
        if model is None:
            raise LocationError(
                "names a model that the team does not have; choose another one or upload it"
            )
        return stored_models.folder_of(model)
    return model_files.folder_at(_folder(rest)) if scheme == "file" else None


def data_set(uri: str, team: Team) -> DataSet | None:
    """The row of a `dataset:` location. Raises LocationError if the team has none; None for any other
    location.
    """
    scheme, _, rest = uri.partition(":")
    if scheme != "dataset":
        return None
    name, _, fingerprint = rest.partition("@")
    found = (
        DataSet.objects.filter(team=team, name=name, fingerprint=fingerprint)
        .select_related("artifact")
        .first()
    )
    if found is None:
        raise LocationError(
            "names a data set that the team does not have; choose another one or upload it"
        )
    return found


def data_path(uri: str, team: Team) -> Path | None:
    """The file of a data set. Raises LocationError."""
    if found := data_set(uri, team):
        return artifacts.path(team, found.artifact.sha256)
    scheme, _, rest = uri.partition(":")
    return allowed(rest) if scheme == "file" else None


def allowed(path: str) -> Path:
    """The real path, if one of the operator's roots holds it. Raises LocationError, alike for what is
    forbidden and what is missing.
    """
    try:
        real = Path(path).resolve()
        if (
            any(real.is_relative_to(root.resolve()) for root in settings.STILLROOM_FILE_ROOTS)
            and real.exists()
        ):
            return real
    except (OSError, ValueError):
        pass
    raise LocationError(
        "is nothing that this server may read (the operator allows folders by STILLROOM_FILE_ROOTS); upload it instead"
    )


def _folder(path: str) -> Path:
    real = allowed(path)
    if not real.is_dir():
        raise LocationError("is a file, not a model folder; name the folder that holds config.json")
    return real


def builtin_folder(name: str) -> Folder:
    """The files of a built-in model. Raises LocationError."""
    if name not in BUILTIN_LABELS:
        raise LocationError(
            f"is no built-in model; there is {', '.join(f'builtin:{known}' for known in BUILTIN_LABELS)}"
        )
    return model_files.folder_at(BUILTIN / name)
