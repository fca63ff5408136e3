"""API tokens of programs: shown once, stored as a digest, revoked by a person or expired.

A valid token is cached for `MEMORY_SECONDS`, so that logging does not query the database with every
request; a revoked token works at most that much longer in each web process.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from datetime import datetime, timedelta

from django.utils import timezone

from webapp.access.actors import Actor
from webapp.access.digests import digest, new_token
from webapp.access.models import ApiToken, Membership, Role, Scope, Team, User
from webapp.access.permissions import ALLOWED

MEMORY_SECONDS = 1.0
MAX_CACHED_TOKENS = 1000
# `last_used_at` is written at most this often, to save a write per request.
LAST_USED_INTERVAL = timedelta(minutes=1)
ROLES_WITH_TOKENS = [role for role, actions in ALLOWED.items() if "start" in actions]


def make(team: Team, name: str, scope: str, maker: User, expires_at: datetime | None = None) -> str:
    """Create a token and return its secret, which cannot be read again."""
    token = new_token()
    ApiToken.objects.create(
        team=team,
        name=name,
        scope=scope,
        created_by=maker,
        expires_at=expires_at,
        digest=digest(token),
    )
    return token


def revoke(token: ApiToken, by: User | None) -> None:
    """Revoke a token; one that was revoked before keeps its time and person."""
    ApiToken.objects.filter(pk=token.pk, revoked_at=None).update(
        revoked_at=timezone.now(), revoked_by=by
    )


class TokenCache:
    """The actors of tokens, read from the database at most once in MEMORY_SECONDS per token."""

    def __init__(self) -> None:
        self._cached: OrderedDict[str, tuple[float, Actor]] = OrderedDict()

    def cached(self, token: str) -> Actor | None:
        """Return the actor of a token that is in the cache."""
        entry = self._cached.get(digest(token))
        return entry[1] if entry is not None and entry[0] > time.monotonic() else None

    def find(self, token: str) -> Actor | None:
        """Return the actor of a token; None if it is unknown, revoked or expired."""
        cached_actor = self.cached(token)
        if cached_actor is not None:
            return cached_actor
        actor = actor_of_token(token)
        # Unknown tokens are not cached: guesses would push the valid ones out.
        if actor is not None:
            self._cached[digest(token)] = (time.monotonic() + MEMORY_SECONDS, actor)
            while len(self._cached) > MAX_CACHED_TOKENS:
                self._cached.popitem(last=False)
        return actor


def actor_of_token(token: str) -> Actor | None:
    """Return the actor of a token from the database, and store that it was used."""
    row = ApiToken.objects.select_related("team", "created_by").filter(digest=digest(token)).first()
    if row is None or not row.is_open or not row.created_by.is_active:
        return None
    # A person who leaves the team or becomes a viewer must not keep access through their tokens.
    if not Membership.objects.filter(
        team=row.team_id, user=row.created_by_id, role__in=ROLES_WITH_TOKENS
    ).exists():
        return None
    now = timezone.now()
    if row.last_used_at is None or now - row.last_used_at > LAST_USED_INTERVAL:
        ApiToken.objects.filter(pk=row.pk).update(last_used_at=now)
    role = Role.EDITOR if row.scope == Scope.LOG else Role.VIEWER
    return Actor(row.created_by, {row.team_id: role}, row.team)
