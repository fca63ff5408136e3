"""Editing a run's name and notes in place, and the tags that are suggested.

The forms work without JavaScript: they redirect to the page of the run. With it, htmx takes the
header or the notes out of the answer.
"""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from webapp.access import permissions
from webapp.access.actors import actor_of
from webapp.pages.runs import undo
from webapp.pages.runs.run_page import requested_run
from webapp.runs import edits
from webapp.runs.edits import EditRefused, NotesChanged
from webapp.runs.models import Run


@require_POST
def rename(request: HttpRequest, run_id: str) -> HttpResponse:
    run = requested_run(request, run_id, "edit")
    try:
        edits.carry_out_one(edits.rename(request.POST.get("name", "")), run, actor_of(request).user)
    except EditRefused as refusal:
        messages.error(request, str(refusal))
    return redirect(undo.next_url(request, reverse("run", args=[run.public_id])))


@require_http_methods(["GET", "HEAD", "POST"])
def notes(request: HttpRequest, run_id: str) -> HttpResponse:
    """Show the form of the notes; POST saves them, or with `preview` shows what they look like."""
    run = requested_run(request, run_id, "edit")
    if request.method != "POST":
        return _form(request, run, run.notes)
    text = request.POST.get("notes", "")
    if "preview" in request.POST:
        return _form(request, run, text, preview=True, before=request.POST.get("before", ""))
    try:
        edit = edits.write_notes(text, request.POST.get("before", ""))
        edits.carry_out_one(edit, run, actor_of(request).user)
    except NotesChanged as refusal:
        # The form names the present notes now: saving again replaces them knowingly.
        run.refresh_from_db(fields=["notes"])
        return _form(request, run, text, mistake=str(refusal), others=run.notes)
    except EditRefused as refusal:
        return _form(
            request, run, text, mistake=str(refusal), before=request.POST.get("before", "")
        )
    return redirect(f"{reverse('run', args=[run.public_id])}?notes=open#notes")


@require_safe
def tag_names(request: HttpRequest) -> HttpResponse:
    """Return the tags of the current team's runs as options of a <datalist>."""
    team = permissions.current_team(request)
    return render(request, "runs/_tag_names.html", {"tags": edits.suggested_tags(team)})


def _form(
    request: HttpRequest,
    run: Run,
    text: str,
    *,
    preview: bool = False,
    before: str = "",
    mistake: str = "",
    others: str | None = None,
) -> HttpResponse:
    """Render the form with `text`. `others` are notes that somebody else wrote in between."""
    context = {
        "run": run,
        "text": text,
        "before": before or edits.digest_of(run.notes),
        "preview": preview,
        "mistake": mistake,
        "others": others,
        "longest": edits.LONGEST_NOTES,
    }
    return render(request, "runs/notes.html", context)
