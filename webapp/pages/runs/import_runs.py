"""The page that imports runs of other trackers from uploaded files."""

from __future__ import annotations

import tempfile
from pathlib import Path

from django import forms
from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_http_methods

from webapp.access import actors, permissions
from webapp.access.permissions import current_team
from webapp.base.view_marks import slow, takes_uploads
from webapp.clients.importers import FORMATS, UnreadableFile, import_runs
from webapp.clients.importers.uploaded_files import UploadedFolder


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
            UploadedFolder(folder).add((file.name or "", file) for file in files)
            runs = import_runs(folder, options["format"], team, user, options["project"])
        except UnreadableFile as error:
            return _page(request, form, str(error), 422)
    messages.success(request, f"{len(runs)} run{'s' if len(runs) > 1 else ''} imported.")
    if len(runs) == 1:
        return redirect("run", runs[0].public_id)
    return redirect(f"{reverse('runs')}?{urlencode({'source': 'imported'})}")


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
