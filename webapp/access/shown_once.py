"""A secret that is shown once: a signed cookie of a minute carries it from the answer that made it
to the page that shows it.

So the page can be reloaded without making another one, and the server keeps nothing but the digest.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core import signing
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

COOKIE = "shown_once"
SECONDS = 60


def redirect(page: str, place: str = "", **secret: str) -> HttpResponseRedirect:
    """To `place` on the page at the address `page`, which takes the secret."""
    response = HttpResponseRedirect(f"{page}{place}")
    carried = signing.dumps(secret, salt=page)
    response.set_cookie(
        COOKIE, carried, max_age=SECONDS, path=page, secure=settings.SESSION_COOKIE_SECURE, httponly=True, samesite="Lax"
    )  # fmt: skip
    return response


def taken(request: HttpRequest) -> dict[str, Any]:
    """What was made for this page a moment ago; empty if nothing was."""
    try:
        found: dict[str, Any] = signing.loads(
            request.COOKIES.get(COOKIE, ""), salt=request.path, max_age=SECONDS
        )
    except signing.BadSignature:
        return {}
    return found


def shown(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    """`response`, which shows what was taken: the browser forgets the cookie and keeps no copy of
    the page.
    """
    if COOKIE in request.COOKIES:
        response.delete_cookie(COOKIE, path=request.path)
        response["Cache-Control"] = "no-store"
    return response
