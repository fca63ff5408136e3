"""The page that imports runs of other trackers from uploaded files, and that of one import."""

from __future__ import annotations

from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from webapp.access import actors, permissions
from webapp.access.permissions import current_team
from webapp.base.view_marks import slow, takes_uploads
from webapp.clients import run_imports
from webapp.clients.importers import ANY_FORMAT, FORMATS
from webapp.clients.importers.uploaded_files import MAX_BYTES
from webapp.clients.models import RunImport
from webapp.clients.run_imports import IMPORTS, TooManyImports
from webapp.runs.models import Run

MOST_LISTED = 500


class ImportForm(forms.Form):
    """The fields of the import page beside its files."""

    format = forms.ChoiceField(
        label="Format",
        choices=[(ANY_FORMAT, "Recognise the tracker by the files"), *FORMATS.items()],
        required=False,
    )
    project = forms.CharField(
        label="Project",
        max_length=200,
        initial="imported",
        help_text="For runs whose files name no project.",
    )


@slow
@takes_uploads("start", MAX_BYTES)
@require_http_methods(["GET", "HEAD", "POST"])
def import_from_files(request: HttpRequest) -> HttpResponse:
    """Show the form; POST lets the files be imported, and leads to the page of this import."""
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
    try:
        row = run_imports.begin(team, user, options["format"], options["project"], files)
    except TooManyImports as error:
        return _page(request, form, str(error), 422)
    return redirect("run_import", row.pk)


@require_safe
def run_import(request: HttpRequest, import_id: int) -> HttpResponse:
    """Show how far an import has come, then its runs and what was wrong."""
    row = permissions.find(actors.actor_of(request), "view", RunImport, pk=import_id)
    IMPORTS.start_if_waiting(row)
    shown = dict(row.results[:MOST_LISTED])
    runs = permissions.visible(actors.actor_of(request), Run).filter(public_id__in=shown)
    context: dict[str, Any] = {
        "import": row,
        "rows": [(run, shown[run.public_id]) for run in runs.select_related("origin__project")],
        "unlisted": len(row.results) - len(shown),
    }
    return render(request, "runs/run_import.html", context)


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
