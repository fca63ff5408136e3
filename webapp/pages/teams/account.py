"""A person's own account: name and password."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth import update_session_auth_hash
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from webapp.access.actors import actor_of
from webapp.pages.teams.forms import AccountForm


@require_http_methods(["GET", "HEAD", "POST"])
def account(request: HttpRequest) -> HttpResponse:
    """Change one's name, or set a password."""
    user = actor_of(request).user
    assert user is not None
    form = AccountForm(
        request.POST if request.method == "POST" else None, user=user, initial={"name": user.name}
    )
    if request.method != "POST" or not form.is_valid():
        return render(
            request, "teams/account.html", {"form": form}, status=422 if form.errors else 200
        )
    user.name = form.cleaned_data["name"]
    if form.cleaned_data["password"]:
        user.set_password(form.cleaned_data["password"])
    user.save()
    # A changed password ends all sessions of the person except this one.
    update_session_auth_hash(request, user)
    messages.success(request, "Saved.")
    return redirect("account")
