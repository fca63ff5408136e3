"""The team page: members and their roles, invitations, and switching between teams."""

from __future__ import annotations

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from webapp.teams import access, links, members
from webapp.teams.access import actor_of
from webapp.teams.forms import RoleForm
from webapp.teams.models import Invitation, Membership, Role, Team


@require_safe
def team(request: HttpRequest) -> HttpResponse:
    return _page(request, access.require(actor_of(request), "view", actor_of(request).team))


@require_POST
def invite(request: HttpRequest) -> HttpResponse:
    """Make an invitation and show its link, this once."""
    actor = actor_of(request)
    found = access.require(actor, "admin", actor.team)
    form = RoleForm(request.POST)
    if not form.is_valid() or actor.user is None:
        messages.error(request, "Choose one of the roles.")
        return redirect("team")
    token = links.invite(found, form.cleaned_data["role"], actor.user)
    return _page(request, found, request.build_absolute_uri(reverse("invitation", args=[token])))


@require_POST
def withdraw(request: HttpRequest, invitation_id: int) -> HttpResponse:
    """Make an invitation useless."""
    access.find(actor_of(request), "admin", Invitation, pk=invitation_id).delete()
    messages.success(request, "The invitation is withdrawn.")
    return redirect("team")


@require_POST
def change_role(request: HttpRequest, membership_id: int) -> HttpResponse:
    membership = access.find(actor_of(request), "admin", Membership, pk=membership_id)
    form = RoleForm(request.POST)
    if not form.is_valid():
        messages.error(request, "Choose one of the roles.")
        return redirect("team")
    try:
        members.change_role(membership, form.cleaned_data["role"])
        messages.success(request, f"{membership.user} is {form.cleaned_data['role']} now.")
    except members.LastAdmin as refusal:
        messages.error(request, str(refusal))
    return redirect("team")


@require_POST
def remove(request: HttpRequest, membership_id: int) -> HttpResponse:
    """Administrators remove anybody; everybody may leave."""
    actor = actor_of(request)
    membership = access.find(actor, "view", Membership, pk=membership_id)
    if membership.user != actor.user:
        access.require(actor, "admin", membership)
    try:
        members.remove(membership)
        messages.success(request, f"{membership.user} is no longer in the team.")
    except members.LastAdmin as refusal:
        messages.error(request, str(refusal))
    return redirect("team" if membership.user != actor.user else "runs")


@require_POST
def switch(request: HttpRequest, slug: str) -> HttpResponse:
    """Show the pages of another of one's teams."""
    found = access.visible(actor_of(request), Team).filter(slug=slug).first()
    if found is None:
        raise Http404("no such team")
    request.session[access.CURRENT_TEAM] = found.slug
    return redirect("runs")


def _page(request: HttpRequest, shown: Team, link: str = "") -> HttpResponse:
    actor = actor_of(request)
    open_invitations = access.visible(actor, Invitation).filter(team=shown, used_at=None, expires_at__gt=timezone.now())
    context = {
        "team": shown,
        "members": access.visible(actor, Membership).filter(team=shown).select_related("user").order_by("user__name", "user__email"),
        "invitations": open_invitations.select_related("created_by").order_by("-created_at"),
        "teams": access.visible(actor, Team).exclude(pk=shown.pk).order_by("name"),
        "roles": Role.choices,
        "is_admin": access.may(actor, "admin", shown),
        "link": link,
    }
    return render(request, "teams/team.html", context)
