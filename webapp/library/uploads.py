"""Uploaded files: their path on the disk, their name, and the response to an upload."""

from __future__ import annotations

from pathlib import Path

from django.core.files.uploadedfile import TemporaryUploadedFile, UploadedFile
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from webapp.library.models import DataReading, DataSet, StoredModel


def path_of(file: UploadedFile) -> Path:
    """Return the file on the disk; the settings keep no upload in memory."""
    assert isinstance(file, TemporaryUploadedFile)
    return Path(file.temporary_file_path())


def base_name(name: str) -> str:
    """Return the last part of a path of any operating system, so that no name leaves its folder."""
    return name.replace("\\", "/").rsplit("/", 1)[-1]


def shown_name(name: str) -> str:
    """Return a name for display only: the last part, printable, of bounded length."""
    return (
        "".join(character for character in base_name(name) if character.isprintable())[:200]
        or "data"
    )


def created(request: HttpRequest, address: str) -> HttpResponse:
    """Return a redirect to what was created, or 201 for a script, which must not follow it."""
    # The page's script shows the progress of the upload and opens the new page itself.
    if "X-Upload" in request.headers:
        return HttpResponse(status=201, headers={"Location": address})
    return redirect(address)


def referenced_artifacts(team_id: int) -> set[str]:
    """Return the SHA-256 of every file of the team's data sets, models and unfinished readings."""
    data_sets = DataSet.objects.filter(team=team_id)
    readings = DataReading.objects.filter(team=team_id, ended_at=None)
    hashes = set(data_sets.values_list("artifact__sha256", flat=True))
    hashes |= set(readings.values_list("artifact__sha256", flat=True))
    for manifest in StoredModel.objects.filter(team=team_id).values_list("manifest", flat=True):
        hashes |= set(manifest.values())
    return hashes
