"""API tokens: editors create and revoke their own, administrators revoke any."""

from __future__ import annotations

from datetime import timedelta

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST

from webapp.access import api_tokens, permissions, shown_once
from webapp.access.actors import actor_of
from webapp.access.models import ApiToken
from webapp.pages.teams import team
from webapp.pages.teams.forms import TokenForm


@require_POST
def make(request: HttpRequest) -> HttpResponse:
    """Create a token; the team's page shows it once."""
    actor = actor_of(request)
    current_team = permissions.require(actor, "start", actor.team)
    assert actor.user is not None
    form = TokenForm(request.POST)
    if not form.is_valid():
        return team.page(request, current_team, token_form=form, status=422)
    typed = form.cleaned_data
    ends = timezone.now() + timedelta(days=int(typed["days"])) if typed["days"] else None
    token = api_tokens.make(current_team, typed["name"], typed["scope"], actor.user, ends)
    return shown_once.redirect(reverse("team"), "#tokens", token=token, token_scope=typed["scope"])


@require_POST
def revoke(request: HttpRequest, token_id: int) -> HttpResponse:
    """End a token: one's own, or any for an administrator."""
    actor = actor_of(request)
    token = permissions.find(actor, "start", ApiToken, pk=token_id)
    if token.created_by != actor.user:
        permissions.require(actor, "admin", token)
    api_tokens.revoke(token, actor.user)
    messages.success(request, f"The token “{token.name}” is revoked.")
    return redirect("team")
