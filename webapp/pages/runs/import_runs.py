"""Bringing runs of other trackers here, by uploading their files."""

from __future__ import annotations

import lzma
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from django import forms
from django.conf import settings
from django.contrib import messages
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_http_methods

from webapp.access import access, actors
from webapp.access.access import current_team
from webapp.clients.importers import FORMATS, UnreadableFile, import_runs

MOST_BYTES = 2**30
MOST_FILES = 20_000
UNPACKABLE = (
    zipfile.BadZipFile,
    NotImplementedError,
    RuntimeError,
    OSError,
    EOFError,
    zlib.error,
    lzma.LZMAError,
)


class BringForm(forms.Form):
    """What is brought, besides the files."""

    format = forms.ChoiceField(label="Of", choices=list(FORMATS.items()))
    project = forms.CharField(
        label="Project", max_length=200, initial="imported", help_text="Where the files name none."
    )


@require_http_methods(["GET", "HEAD", "POST"])
def bring_runs(request: HttpRequest) -> HttpResponse:
    """The form; POST reads the files and shows the runs that they hold."""
    team = current_team(request)
    if request.method != "POST":
        return _page(request, BringForm())
    access.require(actors.actor_of(request), "start", team)
    form, files = BringForm(request.POST), request.FILES.getlist("files")
    if not form.is_valid() or not files:
        return _page(
            request, form, "" if files else "Choose the files, or a zip of their folder.", 422
        )
    typed = form.cleaned_data
    with tempfile.TemporaryDirectory(dir=settings.UPLOADS) as place:
        try:
            _lay_out(files, Path(place))
            found = import_runs(
                Path(place), typed["format"], team, actors.actor_of(request).user, typed["project"]
            )
        except UnreadableFile as problem:
            return _page(request, form, f"{problem} What was read before that is kept.", 422)
    messages.success(request, f"{len(found)} run{'s' if len(found) > 1 else ''} read.")
    if len(found) == 1:
        return redirect("run", found[0].public_id)
    return redirect(f"{reverse('runs')}?{urlencode({'source': 'imported'})}")


def _lay_out(files: Iterable[UploadedFile], place: Path) -> None:
    """The files in a folder, and what zips hold as it lay. Raises UnreadableFile."""
    for number, file in enumerate(files):
        name = PurePosixPath(file.name or "file").name
        if name.lower().endswith(".zip"):
            _unpack(file, place)
            continue
        target = place / name
        if target.exists():
            target = place / str(number) / name
            target.parent.mkdir(exist_ok=True)
        with target.open("wb") as stream:
            shutil.copyfileobj(file, stream)


def _unpack(file: UploadedFile, place: Path) -> None:
    try:
        with zipfile.ZipFile(file) as packed:
            members = [member for member in packed.infolist() if not member.is_dir()]
            if (
                sum(member.file_size for member in members) > MOST_BYTES
                or len(members) > MOST_FILES
            ):
                raise UnreadableFile(
                    f"{file.name} holds more than {MOST_BYTES // 2**30} GiB or "
                    f"{MOST_FILES:,} files."
                )
            for member in members:
                _write(packed, member, place)
    except UNPACKABLE as problem:
        raise UnreadableFile(f"{file.name} cannot be unpacked: {problem}.") from problem


def _write(packed: zipfile.ZipFile, member: zipfile.ZipInfo, place: Path) -> None:
    parts = PurePosixPath(member.filename.replace("\\", "/")).parts
    if not parts or parts[0] == "/" or any(part in ("..", ".") or "\0" in part for part in parts):
        raise UnreadableFile(f"The zip holds a file outside its folder: {member.filename[:100]}.")
    target = place.joinpath(*parts)
    target.parent.mkdir(parents=True, exist_ok=True)
    left = member.file_size
    with packed.open(member) as source, target.open("wb") as stream:
        while block := source.read(2**20):
            left -= len(block)
            if left < 0:
                raise UnreadableFile(f"{member.filename[:100]} is longer than the zip says.")
            stream.write(block)


def _page(
    request: HttpRequest, form: BringForm, problem: str = "", status: int = 200
) -> HttpResponse:
    may = access.may_in_team(actors.actor_of(request), "start")
    return render(
        request,
        "runs/bring.html",
        {"form": form, "problem": problem, "may_start": may},
        status=status,
    )
