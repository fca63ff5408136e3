"""The page that imports runs of other trackers from uploaded files."""

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

from webapp.access import actors, permissions
from webapp.access.permissions import current_team
from webapp.base.view_marks import slow, takes_uploads
from webapp.clients.importers import FORMATS, UnreadableFile, import_runs

# Bounds of an unpacked zip: a small archive can otherwise fill the disk (a zip bomb).
MAX_BYTES = 2**30
MAX_FILES = 20_000
# What zipfile and its decompressors raise for a broken, encrypted or unsupported archive.
UNPACK_ERRORS = (
    zipfile.BadZipFile,
    NotImplementedError,
    RuntimeError,
    OSError,
    EOFError,
    zlib.error,
    lzma.LZMAError,
)


class ImportForm(forms.Form):
    """The fields of the import page beside its files."""

    format = forms.ChoiceField(label="Format", choices=list(FORMATS.items()))
    project = forms.CharField(
        label="Project",
        max_length=200,
        initial="imported",
        help_text="For runs whose files name no project.",
    )


@slow
@takes_uploads("start")
@require_http_methods(["GET", "HEAD", "POST"])
def import_from_files(request: HttpRequest) -> HttpResponse:
    """Show the form; on POST, read the files and show the runs in them."""
    team = current_team(request)
    if request.method != "POST":
        return _page(request, ImportForm())
    permissions.require(actors.actor_of(request), "start", team)
    form, files = ImportForm(request.POST), request.FILES.getlist("files")
    if not form.is_valid() or not files:
        return _page(
            request, form, "" if files else "Choose the files, or a zip of their folder.", 422
        )
    options = form.cleaned_data
    user = actors.actor_of(request).user
    # Beside the uploads, not in /tmp, which is often small and in memory.
    with tempfile.TemporaryDirectory(dir=settings.UPLOADS) as folder_name:
        folder = Path(folder_name)
        try:
            _save_files(files, folder)
            runs = import_runs(folder, options["format"], team, user, options["project"])
        except UnreadableFile as error:
            return _page(request, form, f"{error} What was read before that is stored.", 422)
    messages.success(request, f"{len(runs)} run{'s' if len(runs) > 1 else ''} imported.")
    if len(runs) == 1:
        return redirect("run", runs[0].public_id)
    return redirect(f"{reverse('runs')}?{urlencode({'source': 'imported'})}")


def _save_files(files: Iterable[UploadedFile], folder: Path) -> None:
    """Write the files to the folder and unpack zips there. Raises UnreadableFile."""
    for index, file in enumerate(files):
        name = PurePosixPath(file.name or "file").name
        if name.lower().endswith(".zip"):
            _unpack(file, folder)
            continue
        target = folder / name
        if target.exists():
            # Two files of one name, from different folders: the second gets a folder of its own.
            target = folder / str(index) / name
            target.parent.mkdir(exist_ok=True)
        with target.open("wb") as stream:
            shutil.copyfileobj(file, stream)


def _unpack(file: UploadedFile, folder: Path) -> None:
    try:
        with zipfile.ZipFile(file) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            if sum(member.file_size for member in members) > MAX_BYTES or len(members) > MAX_FILES:
                raise UnreadableFile(
                    f"{file.name} holds more than {MAX_BYTES // 2**30} GiB or {MAX_FILES:,} files."
                )
            for member in members:
                _unpack_member(archive, member, folder)
    except UNPACK_ERRORS as error:
        raise UnreadableFile(f"{file.name} cannot be unpacked: {error}.") from error


def _unpack_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, folder: Path) -> None:
    segments = PurePosixPath(member.filename.replace("\\", "/")).parts
    if (
        not segments
        or segments[0] == "/"
        or any(segment in ("..", ".") or "\0" in segment for segment in segments)
    ):
        raise UnreadableFile(f"The zip holds a file outside its folder: {member.filename[:100]}.")
    target = folder.joinpath(*segments)
    target.parent.mkdir(parents=True, exist_ok=True)
    # The size in the zip's directory is only a claim: count what is really unpacked.
    bytes_left = member.file_size
    with archive.open(member) as source, target.open("wb") as stream:
        while block := source.read(2**20):
            bytes_left -= len(block)
            if bytes_left < 0:
                raise UnreadableFile(f"{member.filename[:100]} is longer than the zip states.")
            stream.write(block)


def _page(
    request: HttpRequest, form: ImportForm, problem: str = "", status: int = 200
) -> HttpResponse:
    return render(
        request,
        "runs/import_runs.html",
        {
            "form": form,
            "problem": problem,
            "may_start": permissions.may_in_team(actors.actor_of(request), "start"),
        },
        status=status,
    )
