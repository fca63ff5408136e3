"""Tokens of programs: made once, shown once, found by their digest, ended by a person or by time.

A token that was found is remembered for `MEMORY_SECONDS`, so that logging does not ask the database
about it with every request; a token that is revoked works at most that much longer in each process
of the web.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from datetime import datetime, timedelta

from django.utils import timezone

from webapp.access.access import ALLOWED
from webapp.access.actors import Actor
from webapp.access.digests import digest, new_token
from webapp.access.models import ApiToken, Membership, Role, Scope, Team, User

MEMORY_SECONDS = 1.0
REMEMBERED = 1000
NOTED_EVERY = timedelta(minutes=1)
MAKERS = [role for role, actions in ALLOWED.items() if "start" in actions]


def make(team: Team, name: str, scope: str, maker: User, expires_at: datetime | None = None) -> str:
    """The secret of a new token, which nobody can read again."""
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
    """End a token; one that was ended before keeps who did it."""
    ApiToken.objects.filter(pk=token.pk, revoked_at=None).update(
        revoked_at=timezone.now(), revoked_by=by
    )


class TokenCache:
    """Tells who a token stands for, asking the database at most once in MEMORY_SECONDS for each."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, tuple[float, Actor]] = OrderedDict()

    def remembered(self, token: str) -> Actor | None:
        """The actor of a token that was found a moment ago."""
        found = self._known.get(digest(token))
        return found[1] if found is not None and found[0] > time.monotonic() else None

    def find(self, token: str) -> Actor | None:
        """The actor that `token` stands for; None if it opens nothing (any more)."""
        known = self.remembered(token)
        if known is not None:
            return known
        actor = actor_of_token(token)
        if actor is not None:
            self._known[digest(token)] = (time.monotonic() + MEMORY_SECONDS, actor)
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return actor


def actor_of_token(token: str) -> Actor | None:
    """As `TokenCache.find`, from the database. Notes that the token was used."""
    found = (
        ApiToken.objects.select_related("team", "created_by").filter(digest=digest(token)).first()
    )
    if found is None or not found.is_open or not found.created_by.is_active:
        return None
    if not Membership.objects.filter(
        team=found.team_id, user=found.created_by_id, role__in=MAKERS
    ).exists():
        return None
    now = timezone.now()
    if found.last_used_at is None or now - found.last_used_at > NOTED_EVERY:
        ApiToken.objects.filter(pk=found.pk).update(last_used_at=now)
    role = Role.EDITOR if found.scope == Scope.LOG else Role.VIEWER
    return Actor(found.created_by, {found.team_id: role}, found.team)
