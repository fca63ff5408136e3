"""Saving, deleting and sharing comparisons."""

from __future__ import annotations

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from webapp.access import permissions
from webapp.access.actors import actor_of
from webapp.comparisons import choices as choices_of
from webapp.comparisons import saving
from webapp.comparisons.models import SavedComparison
from webapp.pages.sharing.links import revoke_link, share_page
from webapp.runs.models import Run
from webapp.sharing.models import ShareLink


@require_POST
def save(request: HttpRequest) -> HttpResponse:
    """Save the runs and choices of the form under its name."""
    actor = actor_of(request)
    team = permissions.current_team(request)
    permissions.require(actor, "edit", team)
    ids = choices_of.run_ids(request.POST.get("runs", ""))[: choices_of.MOST_RUNS]
    runs = list(permissions.visible(actor, Run).filter(public_id__in=ids).order_by("pk"))
    if len(runs) < len(ids):
        raise Http404("a run does not exist")
    choices = choices_of.read(request.POST.dict())
    try:
        saved = saving.save(team, actor.user, request.POST.get("name", ""), runs, choices)
    except saving.CannotSave as error:
        messages.error(request, str(error))
        return redirect(f"{reverse('compare')}?runs={','.join(ids)}&{choices.query()}")
    messages.success(request, "Comparison saved.")
    return redirect("comparison", saved.public_id)


@require_POST
def delete(request: HttpRequest, comparison_id: str) -> HttpResponse:
    """Delete a comparison with its links; its runs stay."""
    _find(request, "edit", comparison_id).delete()
    messages.success(request, "Comparison deleted. Its runs are unchanged.")
    return redirect("compare")


@require_http_methods(["GET", "HEAD", "POST"])
def share(request: HttpRequest, comparison_id: str) -> HttpResponse:
    """The links of a comparison; POST makes one, which the page shows this once."""
    saved = _find(request, "share", comparison_id)
    return share_page(request, saved, "comparison", "revoke_comparison_share")


@require_POST
def revoke(request: HttpRequest, comparison_id: str, link_id: int) -> HttpResponse:
    """End a link."""
    link = permissions.find(
        actor_of(request),
        "share",
        ShareLink,
        pk=link_id,
        comparison__public_id=comparison_id,
    )
    return revoke_link(request, link, reverse("share_comparison", args=[comparison_id]))


def _find(request: HttpRequest, action: permissions.Action, comparison_id: str) -> SavedComparison:
    return permissions.find(actor_of(request), action, SavedComparison, public_id=comparison_id)
