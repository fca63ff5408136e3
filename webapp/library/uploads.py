"""Files that a browser sends: where they lie, what they are called, and where an upload leads."""

from __future__ import annotations

from pathlib import Path

from django.core.files.uploadedfile import TemporaryUploadedFile, UploadedFile
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from webapp.library.models import DataSet, StoredModel


def path_of(file: UploadedFile) -> Path:
    """The file on the disk; the settings keep no upload in memory."""
    assert isinstance(file, TemporaryUploadedFile)
    return Path(file.temporary_file_path())


def base_name(name: str) -> str:
    """The last part of a name as any system writes paths: a name never leads anywhere."""
    return name.replace("\\", "/").rsplit("/", 1)[-1]


def shown_name(name: str) -> str:
    """A name to show and never to open: its last part, printable, of bounded length."""
    return "".join(sign for sign in base_name(name) if sign.isprintable())[:200] or "data"


def created(request: HttpRequest, address: str) -> HttpResponse:
    """Lead to what was created: by a redirect, or by 201 for a script, which must not follow it
    before the person does.
    """
    if "X-Upload" in request.headers:
        return HttpResponse(status=201, headers={"Location": address})
    return redirect(address)


def referenced_artifacts(team_id: int) -> set[str]:
    """The hashes of all files of the team's data sets and models."""
    data_sets = DataSet.objects.filter(team=team_id)
    named = set(data_sets.values_list("artifact__sha256", flat=True))
    for manifest in StoredModel.objects.filter(team=team_id).values_list("manifest", flat=True):
        named |= set(manifest.values())
    return named
