"""Saving, changing, deleting and sharing comparisons."""

from __future__ import annotations

from dataclasses import replace

from django.contrib import messages
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from webapp.access import permissions, shown_once
from webapp.access.actors import actor_of
from webapp.comparisons import choices as choices_of
from webapp.comparisons import interest, saving
from webapp.comparisons.choices import Choices
from webapp.comparisons.models import SavedComparison
from webapp.pages.sharing.links import revoke_link, share_page
from webapp.runs.models import Run
from webapp.sharing import links
from webapp.sharing.models import ShareLink


@require_POST
def save(request: HttpRequest) -> HttpResponse:
    """Save the runs and choices of the form under its name."""
    permissions.require(actor_of(request), "edit", permissions.current_team(request))
    try:
        saved = _save(request, request.POST.get("name", ""))
    except saving.CannotSave as error:
        return _back(request, error)
    messages.success(request, "Comparison saved.")
    return redirect("comparison", saved.public_id)


@require_POST
def share_new(request: HttpRequest) -> HttpResponse:
    """Save as `save` does, without a name under that of the runs, and create a link to it."""
    actor = actor_of(request)
    permissions.require(actor, "share", permissions.current_team(request))
    lifetime = links.LIFETIMES.get(request.POST.get("days", ""))
    if lifetime is None:
        return _back(request, saving.CannotSave("Choose an expiry."))
    name = request.POST.get("name", "").strip() or saving.default_name(_runs(request))
    try:
        with transaction.atomic():
            saved = _save(request, name)
            assert actor.user is not None
            token = links.share(saved, actor.user, lifetime)
    except saving.CannotSave as error:
        return _back(request, error)
    messages.success(request, f"Saved as “{saved.name}”, which the link shows.")
    return shown_once.redirect(
        reverse("share_comparison", args=[saved.public_id]),
        link=request.build_absolute_uri(reverse("shared", args=[token])),
    )


@require_POST
def save_changes(request: HttpRequest, comparison_id: str) -> HttpResponse:
    """Replace the choices of a comparison; those of its links see them too."""
    saved = _find(request, "edit", comparison_id)
    choices = choices_of.read(request.POST.dict())
    kept = choices_of.read(saved.choices).asked_interest
    if interest.number_in(choices.asked_interest) is None:
        choices = replace(choices, asked_interest=kept)
    try:
        saving.save_changes(saved, choices, request.POST.get("before", ""))
    except saving.CannotSave as error:
        messages.error(request, str(error))
        return redirect(f"{_url_of(saved)}?chosen=1&{choices.query()}")
    messages.success(request, "Changes saved.")
    return redirect(_url_of(saved))


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


def _save(request: HttpRequest, name: str) -> SavedComparison:
    """Save the runs and choices of the form. Raises CannotSave."""
    team, choices = permissions.current_team(request), _choices(request)
    if not choices.baseline:
        # That of the page: the first run of its address. A saved comparison has no such order.
        choices = replace(choices, baseline=next(iter(_run_ids(request)), ""))
    return saving.save(team, actor_of(request).user, name, _runs(request), choices)


def _runs(request: HttpRequest) -> list[Run]:
    """Return the runs of the form. Raises Http404 if one of them does not exist for the person."""
    ids = _run_ids(request)
    runs = permissions.visible(actor_of(request), Run).filter(public_id__in=ids).order_by("pk")
    if len(runs) < len(ids):
        raise Http404("a run does not exist")
    return list(runs)


def _run_ids(request: HttpRequest) -> list[str]:
    return choices_of.run_ids(request.POST.get("runs", ""))[: choices_of.MOST_RUNS]


def _choices(request: HttpRequest) -> Choices:
    return choices_of.read(request.POST.dict())


def _back(request: HttpRequest, error: saving.CannotSave) -> HttpResponse:
    """Show the comparison of the form again, with what is wrong."""
    messages.error(request, str(error))
    listed = ",".join(_run_ids(request))
    return redirect(f"{reverse('compare')}?runs={listed}&{_choices(request).query()}")


def _url_of(saved: SavedComparison) -> str:
    return reverse("comparison", args=[saved.public_id])


def _find(request: HttpRequest, action: permissions.Action, comparison_id: str) -> SavedComparison:
    return permissions.find(actor_of(request), action, SavedComparison, public_id=comparison_id)
