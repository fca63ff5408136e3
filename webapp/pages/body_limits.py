"""How long the body of a request to a page may be, decided by its head."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any

from django.conf import settings
from django.core.handlers.asgi import ASGIRequest
from django.db import close_old_connections

from webapp.access import actors, permissions
from webapp.access.actors import Actor
from webapp.base.asgi_handler import BodyLimit
from webapp.base.asgi_types import Scope
from webapp.base.outages import OUTAGES

# Sign-in, and forms of people whose session has ended.
ANONYMOUS = BodyLimit(2**16, "a form may have here from people who are not signed in.")
UNSAFE = ("POST", "PUT", "PATCH", "DELETE")


def body_limit(scope: Scope, view: Callable[..., Any] | None) -> BodyLimit:
    """Return the limit for a request to `view`, or to an address without one (None).

    Queries the database, so it is called in a thread.
    """
    if view is None or scope["method"] not in UNSAFE:
        return BodyLimit(0, "this address takes.")
    if not getattr(view, "login_required", True):
        return ANONYMOUS
    close_old_connections()
    try:
        actor = _actor(scope)
    except OUTAGES:
        # The page itself will say so.
        return ANONYMOUS
    if actor.user is None:
        return ANONYMOUS
    action = getattr(view, "upload_action", None)
    if action is None:
        return BodyLimit(settings.DATA_UPLOAD_MAX_MEMORY_SIZE, "a form may have here.")
    if not permissions.may_in_team(actor, action):
        return BodyLimit(settings.DATA_UPLOAD_MAX_MEMORY_SIZE, "your role in this team may upload.")
    of_view = getattr(view, "upload_bytes", None)
    most = min(filter(None, (settings.MAX_UPLOAD_BYTES, of_view)))
    return BodyLimit(most, "one upload may have here.")


def _actor(scope: Scope) -> Actor:
    cookies = ASGIRequest(scope, BytesIO()).COOKIES
    key = cookies.get(settings.SESSION_COOKIE_NAME)
    return actors.actor_of_key(key) if key else Actor()
