"""Secrets that are shown once: a signed cookie takes them to the page that shows them.

The redirect keeps a reload of that page from creating another secret, and the server stores only
the digest.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core import signing
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

COOKIE = "shown_once"
MAX_AGE_SECONDS = 60


def redirect(page: str, fragment: str = "", **secret: str) -> HttpResponseRedirect:
    """Return a redirect to the page at the path `page`, with a cookie that contains the secret."""
    response = HttpResponseRedirect(f"{page}{fragment}")
    # The page is the salt, so that a cookie cannot be read on any other page.
    value = signing.dumps(secret, salt=page)
    response.set_cookie(
        COOKIE,
        value,
        max_age=MAX_AGE_SECONDS,
        path=page,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )
    return response


def read_secret(request: HttpRequest) -> dict[str, Any]:
    """Return the secret of this page from the cookie; empty if there is none or it has expired."""
    try:
        secret: dict[str, Any] = signing.loads(
            request.COOKIES.get(COOKIE, ""), salt=request.path, max_age=MAX_AGE_SECONDS
        )
    except signing.BadSignature:
        return {}
    return secret


def hide_afterwards(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    """Return the response that shows the secret, with the cookie deleted and caching disabled."""
    if COOKIE in request.COOKIES:
        response.delete_cookie(COOKIE, path=request.path)
        response["Cache-Control"] = "no-store"
    return response
