"""Which endpoints a run may ask for a teacher's answers: those that the operator lists in
STILLROOM_ENDPOINTS, as beginnings of a URL.

A worker sends requests from inside the operator's network, so a URL that anybody may type could
reach what nobody outside should.
"""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from django.conf import settings

SETTING = "STILLROOM_ENDPOINTS"


def is_allowed(url: str) -> bool:
    """Whether `url` is one of the listed beginnings or lies below it. Neither a longer host name
    nor a path that climbs gets past it.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    if (
        parts.query
        or parts.fragment
        or "@" in parts.netloc
        or ".." in unquote(parts.path)
        or "\\" in url
    ):
        return False
    return any(
        url == one or url.startswith(f"{one}/")
        for one in (listed.rstrip("/") for listed in settings.STILLROOM_ENDPOINTS)
    )


def sentence() -> str:
    """What the operator allows, in words."""
    listed = ", ".join(settings.STILLROOM_ENDPOINTS)
    return (
        f"This server may ask: {listed}."
        if listed
        else f"This server may ask none; its operator lists them in {SETTING}."
    )


def refusal() -> str:
    return f"is no endpoint that this server may ask. {sentence()}"
