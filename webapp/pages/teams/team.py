"""The team page: members and their roles, invitations, tokens of programs, and switching between
teams.
"""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from webapp.access import access, actors, members, one_time_links, shown_once
from webapp.access.actors import actor_of
from webapp.access.models import ApiToken, Invitation, Membership, Role, Team
from webapp.pages.teams.forms import QuotaForm, RoleForm, TokenForm


@require_safe
def team(request: HttpRequest) -> HttpResponse:
    found = access.require(actor_of(request), "view", actor_of(request).team)
    return shown_once.hide_afterwards(
        request, page(request, found, **shown_once.read_secret(request))
    )


@require_POST
def invite(request: HttpRequest) -> HttpResponse:
    """Make an invitation; the team's page shows its link, this once."""
    actor = actor_of(request)
    found = access.require(actor, "admin", actor.team)
    form = RoleForm(request.POST)
    if not form.is_valid() or actor.user is None:
        messages.error(request, "Choose one of the roles.")
        return redirect("team")
    token = one_time_links.invite(found, form.cleaned_data["role"], actor.user)
    return shown_once.redirect(
        reverse("team"),
        "#invite",
        link=request.build_absolute_uri(reverse("invitation", args=[token])),
    )


@require_POST
def set_quota(request: HttpRequest) -> HttpResponse:
    """How many devices the team's work may hold together; nothing typed means as many as there
    are.
    """
    actor = actor_of(request)
    found = access.require(actor, "admin", actor.team)
    form = QuotaForm(request.POST)
    if not form.is_valid():
        messages.error(
            request, "The quota is a whole number of devices from 0 to 1,000,000, or nothing."
        )
        return redirect("team")
    members.set_quota(found, form.cleaned_data["devices"])
    messages.success(request, "The quota is changed.")
    return redirect("team")


@require_POST
def withdraw(request: HttpRequest, invitation_id: int) -> HttpResponse:
    """Make an invitation useless."""
    access.find(actor_of(request), "admin", Invitation, pk=invitation_id).delete()
    messages.success(request, "Invitation revoked.")
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
    request.session[actors.CURRENT_TEAM] = found.slug
    return redirect("runs")


def page(request: HttpRequest, shown: Team, *, status: int = 200, **made: Any) -> HttpResponse:
    """The team's page; `made` is what was just made and is shown this once: `link`, `token` or the
    form with its complaints.
    """
    actor = actor_of(request)
    is_admin = access.may(actor, "admin", shown)
    tokens = (
        access.visible(actor, ApiToken)
        .filter(team=shown)
        .select_related("created_by", "revoked_by")
        .order_by("-pk")
    )
    open_invitations = access.visible(actor, Invitation).filter(
        team=shown, used_at=None, expires_at__gt=timezone.now()
    )
    context = {
        "team": shown,
        "members": access.visible(actor, Membership)
        .filter(team=shown)
        .select_related("user")
        .order_by("user__name", "user__email"),
        "invitations": open_invitations.select_related("created_by").order_by("-created_at"),
        "teams": access.visible(actor, Team).exclude(pk=shown.pk).order_by("name"),
        "roles": Role.choices,
        "is_admin": is_admin,
        "may_log": access.may(actor, "start", shown),
        "tokens": tokens if is_admin else tokens.filter(created_by=actor.user),
        "token_form": TokenForm(),
        "server": request.build_absolute_uri("/").rstrip("/"),
    }
    return render(request, "teams/team.html", {**context, **made}, status=status)
