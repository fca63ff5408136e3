"""The middleware that sets `request.actor` and requires a sign-in for private pages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils.functional import SimpleLazyObject

from webapp.access import actors


class SignInRequired:
    """Views are private unless marked.

    `login_not_required` marks public pages, `permissions.shown_to_guests` the pages of a shared
    run or comparison.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        # Lazy, because public paths such as /healthz have to answer without the database.
        request.actor = SimpleLazyObject(  # type: ignore[attr-defined]
            lambda: actors.actor_of_session(request.session, request.user)
        )
        return self.get_response(request)

    def process_view(
        self, request: HttpRequest, view: Callable[..., Any], args: Any, kwargs: Any
    ) -> HttpResponse | None:
        if not getattr(view, "login_required", True):
            return None
        actor = actors.actor_of(request)
        if actor.user is not None or (actor.is_guest and getattr(view, "shown_to_guests", False)):
            return None
        # htmx would follow a redirect and put the sign-in page inside the page that is shown; with
        # this header it sends the whole browser there.
        if request.headers.get("HX-Request"):
            return HttpResponse(status=401, headers={"HX-Redirect": "/sign-in/"})
        return redirect_to_login(request.get_full_path())
