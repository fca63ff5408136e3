"""Joining a team by an invitation, with an existing or a new account."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth import login
from django.contrib.auth.decorators import login_not_required
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from webapp.access import actors, members, one_time_links
from webapp.access.actors import actor_of
from webapp.access.models import User
from webapp.pages.site import errors
from webapp.pages.teams.forms import JoinForm


@login_not_required
@require_http_methods(["GET", "HEAD", "POST"])
def invitation(request: HttpRequest, token: str) -> HttpResponse:
    """Show the invitation; accept it on POST."""
    try:
        open_invitation = one_time_links.find_invitation(token)
        user = actor_of(request).user
        form = (
            None
            if user is not None
            else JoinForm(request.POST if request.method == "POST" else None)
        )
        if request.method == "POST" and (form is None or form.is_valid()):
            return _join(request, token, user, form)
        status = 422 if form is not None and form.errors else 200
        return render(
            request,
            "teams/invitation.html",
            {"invitation": open_invitation, "form": form},
            status=status,
        )
    except one_time_links.UnusableLink as problem:
        return errors.page(request, 410, "This link does not work", str(problem))


def _join(
    request: HttpRequest, token: str, user: User | None, form: JoinForm | None
) -> HttpResponse:
    # Together: if the invitation is used up meanwhile, no account remains without a team.
    with transaction.atomic():
        person = user or _new_account(form)
        team = one_time_links.accept_invitation(token, person)
    if user is None:
        login(request, person, backend="django.contrib.auth.backends.ModelBackend")
    request.session[actors.CURRENT_TEAM] = team.slug
    messages.success(request, f"Welcome to {team.name}.")
    return redirect("runs")


def _new_account(form: JoinForm | None) -> User:
    assert form is not None
    typed = form.cleaned_data
    return members.create_account(typed["email"], typed["password"], typed["name"])
