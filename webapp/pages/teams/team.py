"""The team page: members and roles, invitations, API tokens, and switching between teams."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from trainer.experiments.comparisons import INTEREST
from webapp.access import actors, members, one_time_links, permissions, shown_once
from webapp.access.actors import actor_of
from webapp.access.models import ApiToken, Invitation, Membership, Role, Team
from webapp.pages.teams.forms import InterestForm, QuotaForm, RoleForm, TokenForm


@require_safe
def team(request: HttpRequest) -> HttpResponse:
    current_team = permissions.require(actor_of(request), "view", actor_of(request).team)
    return shown_once.hide_afterwards(
        request, page(request, current_team, **shown_once.read_secret(request))
    )


@require_POST
def invite(request: HttpRequest) -> HttpResponse:
    """Create an invitation; the team's page shows its link once."""
    actor = actor_of(request)
    current_team = permissions.require(actor, "admin", actor.team)
    form = RoleForm(request.POST)
    if not form.is_valid() or actor.user is None:
        messages.error(request, "Choose one of the roles.")
        return redirect("team")
    token = one_time_links.invite(current_team, form.cleaned_data["role"], actor.user)
    return shown_once.redirect(
        reverse("team"),
        "#invite",
        link=request.build_absolute_uri(reverse("invitation", args=[token])),
    )


@require_POST
def set_quota(request: HttpRequest) -> HttpResponse:
    """Set the most devices that the team may use at once; an empty field means no limit."""
    actor = actor_of(request)
    current_team = permissions.require(actor, "admin", actor.team)
    form = QuotaForm(request.POST)
    if not form.is_valid():
        messages.error(
            request,
            "Enter a whole number of devices from 0 to 1,000,000, or leave the quota empty.",
        )
        return redirect("team")
    members.set_quota(current_team, form.cleaned_data["devices"])
    messages.success(request, "Quota changed.")
    return redirect("team")


@require_POST
def set_interest(request: HttpRequest) -> HttpResponse:
    """Set the smallest difference of interest of comparisons; an empty field means the usual."""
    actor = actor_of(request)
    current_team = permissions.require(actor, "admin", actor.team)
    form = InterestForm(request.POST)
    if not form.is_valid():
        messages.error(
            request,
            "δ is a number from 0.000001 to 1,000,000, such as 0.02 for 2 points of a pass rate. "
            "Type one, or leave it empty.",
        )
        return redirect("team")
    members.set_interest(current_team, form.cleaned_data["interest"])
    messages.success(request, "δ changed. Saved comparisons keep theirs.")
    return redirect("team")


@require_POST
def revoke_invitation(request: HttpRequest, invitation_id: int) -> HttpResponse:
    """Revoke an invitation by deleting it."""
    permissions.find(actor_of(request), "admin", Invitation, pk=invitation_id).delete()
    messages.success(request, "Invitation revoked.")
    return redirect("team")


@require_POST
def change_role(request: HttpRequest, membership_id: int) -> HttpResponse:
    membership = permissions.find(actor_of(request), "admin", Membership, pk=membership_id)
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
    """Remove a member: administrators remove anybody, and everybody may leave."""
    actor = actor_of(request)
    membership = permissions.find(actor, "view", Membership, pk=membership_id)
    if membership.user != actor.user:
        permissions.require(actor, "admin", membership)
    try:
        members.remove(membership)
        messages.success(request, f"{membership.user} is no longer in the team.")
    except members.LastAdmin as refusal:
        messages.error(request, str(refusal))
    # Whoever left the team cannot see its page.
    return redirect("team" if membership.user != actor.user else "runs")


@require_POST
def switch(request: HttpRequest, slug: str) -> HttpResponse:
    """Switch to another of the person's teams."""
    other_team = get_object_or_404(permissions.visible(actor_of(request), Team), slug=slug)
    request.session[actors.CURRENT_TEAM] = other_team.slug
    return redirect("runs")


def page(request: HttpRequest, team: Team, *, status: int = 200, **new_items: Any) -> HttpResponse:
    """The team's page. `new_items` are shown once: a `link`, a `token`, or a form with errors."""
    actor = actor_of(request)
    is_admin = permissions.may(actor, "admin", team)
    tokens = (
        permissions.visible(actor, ApiToken)
        .filter(team=team)
        .select_related("created_by", "revoked_by")
        .order_by("-pk")
    )
    context = {
        "team": team,
        "members": permissions.visible(actor, Membership)
        .filter(team=team)
        .select_related("user")
        .order_by("user__name", "user__email"),
        "invitations": permissions.visible(actor, Invitation)
        .filter(team=team, used_at=None, expires_at__gt=timezone.now())
        .select_related("created_by")
        .order_by("-created_at"),
        "teams": permissions.visible(actor, Team).exclude(pk=team.pk).order_by("name"),
        "roles": Role.choices,
        "is_admin": is_admin,
        "usual_interest": INTEREST,
        "may_log": permissions.may(actor, "start", team),
        # Editors revoke their own tokens, administrators any.
        "tokens": tokens if is_admin else tokens.filter(created_by=actor.user),
        "token_form": TokenForm(),
        "server": request.build_absolute_uri("/").rstrip("/"),
    }
    return render(request, "teams/team.html", {**context, **new_items}, status=status)
