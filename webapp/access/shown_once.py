"""A secret that is shown once: a signed cookie carries it for a minute to the page that shows it.

So a reload of the page does not create another secret, and the server stores only the digest.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core import signing
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

COOKIE = "shown_once"
SECONDS = 60


def redirect(page: str, address: str = "", **secret: str) -> HttpResponseRedirect:
    """To `place` on the page at the address `page`, which takes the secret."""
    response = HttpResponseRedirect(f"{page}{address}")
    value = signing.dumps(secret, salt=page)
    response.set_cookie(
        COOKIE,
        value,
        max_age=SECONDS,
        path=page,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )
    return response


def taken(request: HttpRequest) -> dict[str, Any]:
    """What was made for this page a moment ago; empty if nothing was."""
    try:
        secret: dict[str, Any] = signing.loads(
            request.COOKIES.get(COOKIE, ""), salt=request.path, max_age=SECONDS
        )
    except signing.BadSignature:
        return {}
    return secret


def shown(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    """`response`, which shows what was taken: the browser forgets the cookie and keeps no copy of
    the page.
    """
    if COOKIE in request.COOKIES:
        response.delete_cookie(COOKIE, path=request.path)
        response["Cache-Control"] = "no-store"
    return response
