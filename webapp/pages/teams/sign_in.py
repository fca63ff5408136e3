"""Sign-in by password or one-time link, and sign-out.

A link is used by a button on its page, so that a link preview does not use it up.
"""

from __future__ import annotations

from django.conf import settings
from django.contrib.auth import login, logout
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_http_methods, require_POST

from webapp.access import one_time_links, sign_in_throttle
from webapp.access.actors import actor_of
from webapp.access.models import User
from webapp.pages.site import errors
from webapp.pages.teams.forms import SignInForm


@login_not_required
@require_http_methods(["GET", "HEAD", "POST"])
def sign_in(request: HttpRequest) -> HttpResponse:
    """By email and password."""
    if request.method != "POST" and actor_of(request).user is not None:
        return redirect(settings.LOGIN_REDIRECT_URL)
    target = request.POST.get("next") or request.GET.get("next", "")
    if request.method != "POST":
        return _sign_in_page(request, SignInForm(), target, 200)
    account, address = request.POST.get("email", ""), request.META.get("REMOTE_ADDR", "")
    # Before the form is validated, which checks the password.
    if not sign_in_throttle.allow(account, address):
        return _sign_in_page(
            request, SignInForm(initial={"email": account}), target, 429, sign_in_throttle.TOO_OFTEN
        )
    form = SignInForm(request.POST)
    if not form.is_valid():
        return _sign_in_page(request, form, target, 422)
    sign_in_throttle.forget(account, address)
    return _enter(request, form.cleaned_data["user"], target)


@login_not_required
@require_http_methods(["GET", "HEAD", "POST"])
def sign_in_link(request: HttpRequest, token: str) -> HttpResponse:
    """By a one-time link."""
    try:
        if request.method == "POST":
            return _enter(request, one_time_links.use_sign_in_link(token), "")
        return render(
            request,
            "teams/sign_in_link.html",
            {"person": one_time_links.find_sign_in_link(token).user},
        )
    except one_time_links.UnusableLink as problem:
        return errors.page(request, 410, "This link does not work", str(problem))


@login_not_required
@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    logout(request)
    return redirect(settings.LOGOUT_REDIRECT_URL)


def _sign_in_page(
    request: HttpRequest, form: SignInForm, target: str, status: int, refusal: str = ""
) -> HttpResponse:
    return render(
        request,
        "teams/sign_in.html",
        {"form": form, "next": target, "refusal": refusal},
        status=status,
    )


def _enter(request: HttpRequest, user: User, target: str) -> HttpResponse:
    login(request, user, backend="django.contrib.auth.backends.ModelBackend")
    # The target comes from the address: unchecked, a link to this page could lead to another site.
    safe = url_has_allowed_host_and_scheme(
        target, {request.get_host()}, require_https=request.is_secure()
    )
    return redirect(target if safe else settings.LOGIN_REDIRECT_URL)
