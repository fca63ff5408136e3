"""The actor of a request: a member of teams, a guest with a share link, both, or nobody."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from django.contrib.auth import SESSION_KEY, get_user
from django.contrib.auth.models import AnonymousUser
from django.contrib.sessions.backends.base import SessionBase
from django.contrib.sessions.models import Session
from django.db import connection
from django.http import HttpRequest
from django.utils import timezone

from webapp.access.models import Membership, Team, User
from webapp.access.registry import valid_grants
from webapp.access.sessions import SessionStore

# The teams of a person with their roles. Raw SQL, because every request needs it and building the
# query with the ORM costs more than running it.
TEAMS = """
SELECT membership.role, {fields} FROM teams_membership AS membership
JOIN teams_team AS team ON team.id = membership.team_id
WHERE membership.user_id = %s ORDER BY team.name, team.id
"""
GRANTS = "share_links"
CURRENT_TEAM = "team"


@dataclass(frozen=True)
class Actor:
    """Who asks, and what they have access to.

    `roles` maps team id to role; `team` is the team whose pages are shown; `guest_runs` and
    `guest_comparisons` are what share links open to them.
    """

    user: User | None = None
    roles: Mapping[int, str] = field(default_factory=dict)
    team: Team | None = None
    guest_runs: frozenset[int] = frozenset()
    guest_comparisons: frozenset[int] = frozenset()

    @property
    def is_guest(self) -> bool:
        return bool(self.guest_runs or self.guest_comparisons)

    @property
    def is_anonymous(self) -> bool:
        return self.user is None and not self.is_guest


def actor_of(source: HttpRequest | Mapping[str, Any]) -> Actor:
    """The actor of a request (read once by the middleware) or of a WebSocket scope (read now)."""
    if isinstance(source, HttpRequest):
        actor: Actor = source.actor  # type: ignore[attr-defined]
        return actor
    return actor_of_key(source["session"].session_key)


def actor_of_key(session_key: str | None) -> Actor:
    """The actor of the session of that key, read now."""
    return actor_of_session(SessionStore(session_key), None)


def actor_of_session(session: SessionBase, user: User | AnonymousUser | None) -> Actor:
    """The actor of a session; `user` is looked up in the session if None."""
    account = user if user is not None else _user_of(session)
    shared = frozenset(valid_grants(session.get(GRANTS, [])).values())
    guest = Actor(
        guest_runs=frozenset(pk for kind, pk in shared if kind == "run"),
        guest_comparisons=frozenset(pk for kind, pk in shared if kind == "comparison"),
    )
    if not isinstance(account, User) or not account.is_active:
        return guest
    roles = _roles_of(account)
    teams = {team.slug: team for team, _ in roles}
    # The session keeps the name of a team even after the person has left it.
    team = teams.get(session.get(CURRENT_TEAM, "")) or next(iter(teams.values()), None)
    return replace(guest, user=account, roles={team.pk: role for team, role in roles}, team=team)


def access_states(session_keys: Collection[str]) -> dict[str, Hashable]:
    """Return a value for each session that changes whenever its actor changes.

    A few queries for any number of sessions. A session without an entry is over.
    """
    now = timezone.now()
    sessions = Session.objects.filter(session_key__in=session_keys, expire_date__gt=now)
    sessions_by_key = {
        key: (data, *_references(data))
        for key, data in sessions.values_list("session_key", "session_data")
    }
    user_ids = {user_id for _, user_id, _ in sessions_by_key.values()}
    # The password belongs to the value because Django ends all other sessions when it changes.
    users = User.objects.filter(pk__in=user_ids).values_list("pk", "is_active", "password")
    accounts = {pk: account for pk, *account in users}
    roles: dict[int, list[Any]] = defaultdict(list)
    memberships = Membership.objects.filter(user__in=user_ids).order_by("pk")
    for user_id, *role in memberships.values_list("user_id", "team_id", "role"):
        roles[user_id].append(tuple(role))
    grants = {grant for _, _, granted in sessions_by_key.values() for grant in granted}
    valid = frozenset(valid_grants(grants))
    return {
        key: (data, *accounts.get(user_id, ()), tuple(roles[user_id]), valid.intersection(granted))
        for key, (data, user_id, granted) in sessions_by_key.items()
    }


def _user_of(session: SessionBase) -> User | AnonymousUser:
    if SESSION_KEY not in session:
        return AnonymousUser()
    # `get_user` also refuses a session from before the last change of the password. It takes a
    # request, which a WebSocket does not have, but reads only the request's session.
    request = HttpRequest()
    request.session = session
    user = get_user(request)
    return user if isinstance(user, User) else AnonymousUser()


def _roles_of(user: User) -> list[tuple[Team, str]]:
    fields = [field.attname for field in Team._meta.concrete_fields]
    with connection.cursor() as cursor:
        # The columns follow the model, so that a new field of Team does not cost a query per actor.
        columns = ", ".join(f"team.{name}" for name in fields)
        cursor.execute(TEAMS.format(fields=columns), [user.pk])
        return [
            (Team.from_db(connection.alias, fields, row), role) for role, *row in cursor.fetchall()
        ]


# Decoding a session costs a signature check; the same text always decodes to the same thing.
@lru_cache(maxsize=4096)
def _references(session_data: str) -> tuple[int, tuple[int, ...]]:
    """The user id of a stored session (0: nobody), and the ids of the share links it opened."""
    session = SessionStore().decode(session_data)
    return int(session.get(SESSION_KEY, 0)), tuple(session.get(GRANTS, ()))
