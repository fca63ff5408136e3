"""Changes of any number of runs at once, and of one: tags, pin, archive, deletion, and their undo.

A form names the `action`, the public ids as `run` (repeated, or separated by commas), for tags the
`tag`, and where to go then as `next`. With several fields `tag`, as the undo of several tags has
them, each is that of the runs in the `run` beside it. All runs are changed in one transaction;
those that the person may not change, or that cannot be changed so, are left out, and the answer
says why.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_POST

from webapp.access import permissions
from webapp.access.actors import Actor, actor_of
from webapp.base.view_marks import slow
from webapp.clients import runs as client_runs
from webapp.clients.models import Project
from webapp.pages.runs import delete_runs, undo
from webapp.runs import deletion, edits
from webapp.runs.edits import Edit, EditRefused, Outcome
from webapp.runs.models import Run

Action = Literal["tag", "untag", "pin", "unpin", "archive", "restore", "delete", "undelete"]
# Makes the edit of an action from the form's `tag` and the person.
EDITS: dict[str, Callable[[str, Actor], Edit]] = {
    "tag": lambda tag, _: edits.add_tags(tag),
    "untag": lambda tag, _: edits.remove_tags(tag),
    "pin": lambda *_: edits.pin(),
    "unpin": lambda *_: edits.unpin(),
    "archive": lambda *_: edits.archive(),
    "restore": lambda *_: edits.restore(),
    "delete": lambda _, actor: delete_runs.deletion_by(actor),
    "undelete": lambda *_: deletion.undelete(),
}
DONE = {
    "tag": "tagged {tags}",
    "untag": "without the tag {tags} now",
    "pin": "pinned",
    "unpin": "no longer pinned",
    "archive": "archived",
    "restore": "restored from the archive",
    "delete": "deleted",
    "undelete": "restored",
}
UNDO = {
    "tag": "untag",
    "untag": "tag",
    "pin": "unpin",
    "unpin": "pin",
    "archive": "restore",
    "restore": "archive",
    "delete": "undelete",
}
# What one run shows itself needs no message.
SEEN_ON_RUN = ("tag", "untag", "pin", "unpin")
# Runs that a message names; of more it says how many.
MOST_NAMED = 5
NO_RIGHT = "Your role in its team does not allow that."


@slow
@require_POST
def selected_runs(request: HttpRequest) -> HttpResponse:
    """Apply the action of the form to its runs; a deletion is first confirmed on a page."""
    actor = actor_of(request)
    action = request.POST.get("action", "")
    next_url = undo.next_url(request, reverse("runs"))
    ids = _ids(request.POST.getlist("run"))
    if mistake := _mistake(action, ids):
        messages.error(request, mistake)
        return redirect(next_url)
    visible = permissions.deleted if action == "undelete" else permissions.visible
    found = visible(actor, Run).filter(public_id__in=ids).defer("spec", "notes").order_by("-pk")
    # `deleted` returns only runs that the person may edit.
    allowed = [run for run in found if action == "undelete" or permissions.may(actor, "edit", run)]
    forbidden = [run for run in found if run not in allowed]
    if action == "delete" and allowed:
        if "confirmed" not in request.POST:
            return delete_runs.confirmation(request, allowed, next_url)
        if mistake := _unconfirmed(request, allowed):
            return delete_runs.confirmation(request, allowed, next_url, mistake)
    try:
        edit = _edit(request, action, actor)
    except EditRefused as refusal:
        messages.error(request, str(refusal))
        return redirect(next_url)
    keys = [run.pk for run in allowed]
    if action == "restore":
        _restore_projects(actor, keys)
    outcome = edits.carry_out(edit, visible(actor, Run).filter(pk__in=keys), actor.user)
    _report_success(request, action, outcome, next_url)
    _report_refusals(
        request,
        [
            *((run, str(refusal)) for run, refusal in outcome.refused),
            *((run, NO_RIGHT) for run in forbidden),
        ],
        len(ids) - len(found),
    )
    return redirect(next_url)


def _edit(request: HttpRequest, action: str, actor: Actor) -> Edit:
    """Return the edit that the form asks for. Raises EditRefused."""
    tags, runs = request.POST.getlist("tag"), request.POST.getlist("run")
    if len(tags) > 1 and len(tags) == len(runs):
        pairs = zip(tags, runs, strict=True)
        return edits.of_each([(EDITS[action](tag, actor), _ids([ids])) for tag, ids in pairs])
    return EDITS[action](tags[0] if tags else "", actor)


def _ids(values: Sequence[str]) -> list[str]:
    """Return the different public ids in the form's values, in their order."""
    ids = (id.strip() for value in values for id in value.replace("\0", "").split(","))
    return list(dict.fromkeys(id for id in ids if id))


def _mistake(action: str, ids: Sequence[str]) -> str:
    """Return what is wrong with the form, or an empty text."""
    if action not in EDITS:
        return f"Choose what to do with the runs: {', '.join(EDITS)}."
    if not ids:
        return "No run is selected. Select at least one."
    if len(ids) > edits.MOST_AT_ONCE:
        return (
            f"Up to {edits.MOST_AT_ONCE} runs are changed at once; {len(ids):,} are selected. "
            "Select fewer."
        )
    return ""


def _unconfirmed(request: HttpRequest, runs: Sequence[Run]) -> str:
    """Return why the typed confirmation is not enough to delete `runs`, or an empty text."""
    keys = [run.pk for run in runs]
    contents = deletion.contents_of(permissions.visible(actor_of(request), Run).filter(pk__in=keys))
    typed = delete_runs.typed_confirmation(runs)
    if not contents.checkpoints_of or request.POST.get("typed", "").strip() == typed:
        return ""
    return f"Nothing was deleted. Type “{typed}” to confirm."


def _restore_projects(actor: Actor, keys: Sequence[int]) -> None:
    """Restore the projects of these runs: a run of an archived project is archived with it."""
    projects = permissions.visible(actor, Project).filter(origins__run__in=keys)
    for project in projects.exclude(archived_at=None).distinct():
        client_runs.restore_project(project)


def _report_success(request: HttpRequest, action: str, outcome: Outcome, next_url: str) -> None:
    is_one = len(outcome.accepted) == 1
    if not outcome.accepted or (is_one and action in SEEN_ON_RUN):
        return
    subject = f"“{outcome.accepted[0].name}” is" if is_one else f"{len(outcome.accepted)} runs are"
    typed = edits.tags_in(",".join(request.POST.getlist("tag"))) if "tag" in action else []
    text = f"{subject} {DONE[action].format(tags=', '.join(f'“{tag}”' for tag in typed))}."
    if action in UNDO and outcome.changed:
        undo.success(request, text, UNDO[action], _changed_by_tag(action, outcome), next_url)
    else:
        messages.success(request, text)


def _changed_by_tag(action: str, outcome: Outcome) -> dict[str, list[Run]]:
    """Return the changed runs: for tags under each tag that they got or lost, else under ""."""
    if action not in ("tag", "untag"):
        return {"": outcome.changed}
    changed: dict[str, list[Run]] = {}
    for run in outcome.changed:
        before = outcome.before[run.pk]["tags"]
        more, fewer = (run.tags, before) if action == "tag" else (before, run.tags)
        for tag in more:
            if tag not in fewer:
                changed.setdefault(tag, []).append(run)
    return changed


def _report_refusals(
    request: HttpRequest, refused: Sequence[tuple[Run, str]], missing: int
) -> None:
    """Say which runs were left out and why."""
    sentences = [f"“{run.name}”: {reason}" for run, reason in refused[:MOST_NAMED]]
    if len(refused) > MOST_NAMED:
        sentences.append(f"{len(refused) - MOST_NAMED} more runs were refused likewise.")
    if missing:
        sentences.append(
            f"{missing} selected run{'s are' if missing > 1 else ' is'} not there any more, or not "
            "shown to you."
        )
    if sentences:
        count = len(refused) + missing
        messages.error(
            request,
            f"{count} run{'s were' if count > 1 else ' was'} not changed. {' '.join(sentences)}",
        )
