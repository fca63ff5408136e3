"""Who may see and do what: the only place where access is decided.

An *actor* is a member of teams, a guest who opened a share link, both, or nobody. Views, API and
consumers take their querysets from `visible` and ask `require` before they act: what an actor
cannot see does not exist (404); what they see but may not do is refused (403).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal, TypeVar

from django.contrib.auth import SESSION_KEY, get_user
from django.contrib.auth.models import AnonymousUser
from django.contrib.sessions.backends.base import SessionBase
from django.contrib.sessions.models import Session
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.db.models import Model, Q, QuerySet
from django.http import Http404, HttpRequest
from django.utils import timezone

from webapp.clients.models import ApiToken, Origin, Project
from webapp.jobs.models import Job
from webapp.nodes.models import Device, Node
from webapp.runs.models import (
    Artifact,
    Attempt,
    Checkpoint,
    DataSet,
    Event,
    RolloutRow,
    Run,
    StoredModel,
    Transition,
)
from webapp.sharing.models import ShareLink
from webapp.teams.models import Invitation, Membership, Role, Team, User
from webapp.teams.sessions import SessionStore

Action = Literal["view", "download", "edit", "start", "stop", "share", "admin", "operate"]
M = TypeVar("M", bound=Model)
View = TypeVar("View", bound=Callable[..., Any])

ALLOWED: dict[str, frozenset[Action]] = {
    Role.VIEWER: frozenset({"view", "download"}),
    Role.EDITOR: frozenset({"view", "download", "edit", "start", "stop", "share"}),
    Role.ADMIN: frozenset({"view", "download", "edit", "start", "stop", "share", "admin"}),
}
GUEST: frozenset[Action] = frozenset({"view"})

# How each kind of object hangs on its team, and on the one run that a share link shows.
IN_TEAM: tuple[type[Model], ...] = (
    Run,
    Job,
    DataSet,
    StoredModel,
    Artifact,
    Membership,
    Invitation,
    ApiToken,
    Project,
)
IN_RUN: tuple[type[Model], ...] = (Attempt, Transition, Event, RolloutRow, Checkpoint, Origin)
TEAM_OF: dict[type[Model], str] = {
    Team: "pk",
    **dict.fromkeys(IN_TEAM, "team"),
    **dict.fromkeys((*IN_RUN, ShareLink), "run__team"),
}
# Machines belong to the installation: every member sees them, an operator looks after them.
INSTALLATION: tuple[type[Model], ...] = (Node, Device)
RUN_OF: dict[type[Model], str] = {Run: "pk", **dict.fromkeys(IN_RUN, "run")}

# The teams of a person, each with their role in it. A statement that is ready, because every
# request asks it.
TEAMS = """
SELECT membership.role, {fields} FROM teams_membership AS membership JOIN teams_team AS team ON team.id = membership.team_id
WHERE membership.user_id = %s ORDER BY team.name, team.id
"""
# Likewise the run that a page is about.
RUN = "SELECT {fields} FROM runs_run WHERE public_id = %s"
GRANTS = "share_links"
CURRENT_TEAM = "team"


@dataclass(frozen=True)
class Actor:
    """Who asks. `roles` maps team id to role; `team` is the team whose pages are shown;
    `guest_runs` are open to them by share links.
    """

    user: User | None = None
    roles: Mapping[int, str] = field(default_factory=dict)
    team: Team | None = None
    guest_runs: frozenset[int] = frozenset()

    @property
    def is_anonymous(self) -> bool:
        return self.user is None and not self.guest_runs

    def can(self, action: Action) -> bool:
        """Whether the actor may `action` in their current team: for buttons and menus."""
        return self.team is not None and may(self, action, self.team)


def actor_of(source: HttpRequest | Mapping[str, Any]) -> Actor:
    """The actor behind a request (read once by the middleware) or a WebSocket scope (read now)."""
    if isinstance(source, HttpRequest):
        actor: Actor = source.actor  # type: ignore[attr-defined]
        return actor
    return actor_of_key(source["session"].session_key)


def actor_of_key(session_key: str | None) -> Actor:
    """The actor of the session of that key, read now."""
    return actor_of_session(SessionStore(session_key), None)


def standings(session_keys: Collection[str]) -> dict[str, Hashable]:
    """What the actors of sessions hang on: while it stays equal, so does the actor. A few queries
    for any number; no entry: it is over.
    """
    found = Session.objects.filter(
        session_key__in=session_keys, expire_date__gt=timezone.now()
    ).values_list("session_key", "session_data")
    told = {key: (data, *_references(data)) for key, data in found}
    people = {person for _, person, _ in told.values()}
    accounts = {
        pk: rest
        for pk, *rest in User.objects.filter(pk__in=people).values_list(
            "pk", "is_active", "password"
        )
    }
    roles: dict[int, list[Any]] = defaultdict(list)
    for person, *role in (
        Membership.objects.filter(user__in=people)
        .order_by("pk")
        .values_list("user_id", "team_id", "role")
    ):
        roles[person].append(tuple(role))
    links = frozenset(
        _valid(link for _, _, granted in told.values() for link in granted).values_list(
            "pk", flat=True
        )
    )
    return {
        key: (data, *accounts.get(person, ()), tuple(roles[person]), links.intersection(granted))
        for key, (data, person, granted) in told.items()
    }


def actor_of_session(session: SessionBase, user: User | AnonymousUser | None) -> Actor:
    """The actor of a session; `user` is looked up in the session if None."""
    person = user if user is not None else _user_of(session)
    guest_runs = _granted_runs(session.get(GRANTS, []))
    if not isinstance(person, User) or not person.is_active:
        return Actor(guest_runs=guest_runs)
    roles = _roles_of(person)
    teams = {team.slug: team for team, _ in roles}
    team = teams.get(session.get(CURRENT_TEAM, "")) or next(iter(teams.values()), None)
    return Actor(person, {team.pk: role for team, role in roles}, team, guest_runs)


def visible(actor: Actor, model: type[M]) -> QuerySet[M]:
    """Everything of `model` that the actor may see, of all their teams."""
    if model in INSTALLATION:
        return (
            model._default_manager.all()
            if actor.user is not None
            else model._default_manager.none()
        )
    teams = [team for team, role in actor.roles.items() if "view" in ALLOWED[role]]
    allowed = Q(**{f"{TEAM_OF[model]}__in": teams})
    if model in RUN_OF and actor.guest_runs:
        allowed |= Q(**{f"{RUN_OF[model]}__in": actor.guest_runs})
    return model._default_manager.filter(allowed)


def may(actor: Actor, action: Action, obj: Model) -> bool:
    """Whether the actor may do `action` to `obj`, or to anything in it if it is a team."""
    if type(obj) in INSTALLATION:
        return actor.user is not None and (
            action == "view" or (action == "operate" and actor.user.is_operator)
        )
    role = actor.roles.get(_team_id(obj))
    if role is not None and action in ALLOWED[role]:
        return True
    return action in GUEST and _run_id(obj) in actor.guest_runs


def require(actor: Actor, action: Action, obj: M | None) -> M:
    """Return `obj` if the actor may do `action` to it. Raises Http404 if they cannot see it,
    PermissionDenied if they may not.
    """
    if obj is None or not may(actor, "view", obj):
        raise Http404("not found")
    if not may(actor, action, obj):
        role = (
            "Only operators of this installation may do that."
            if action == "operate"
            else "Your role in this team does not allow that."
        )
        raise PermissionDenied(role if actor.user else "A shared link only shows the run.")
    return obj


def find(actor: Actor, action: Action, model: type[M], **lookup: Any) -> M:
    """The one visible object that matches `lookup`, if the actor may do `action` to it. Raises as
    `require` does.
    """
    if any(isinstance(value, str) and "\0" in value for value in lookup.values()):
        raise Http404("no name holds a NUL character")  # and Postgres would refuse the query
    return require(actor, action, visible(actor, model).filter(**lookup).first())


def find_run(actor: Actor, action: Action, public_id: str) -> Run:
    """The run of that public id, if the actor may do `action` to it. Raises as `require` does."""
    if "\0" in public_id:
        raise Http404("no name holds a NUL character")
    fields = ", ".join(field.attname for field in Run._meta.concrete_fields)
    return require(
        actor, action, next(iter(Run.objects.raw(RUN.format(fields=fields), [public_id])), None)
    )


def shown_to_guests(view: View) -> View:
    """Marks a view that somebody with a share link may open; every other view needs a signed-in
    member.
    """
    view.shown_to_guests = True  # type: ignore[attr-defined]
    return view


def _user_of(session: SessionBase) -> User | AnonymousUser:
    if SESSION_KEY not in session:
        return AnonymousUser()
    request = HttpRequest()
    request.session = session
    found = get_user(request)
    return found if isinstance(found, User) else AnonymousUser()


def _roles_of(person: User) -> list[tuple[Team, str]]:
    fields = [field.attname for field in Team._meta.concrete_fields]
    with connection.cursor() as cursor:
        cursor.execute(
            TEAMS.format(fields=", ".join(f"team.{name}" for name in fields)), [person.pk]
        )
        return [
            (Team.from_db(connection.alias, fields, row), role) for role, *row in cursor.fetchall()
        ]


def _granted_runs(links: list[int]) -> frozenset[int]:
    if not links:
        return frozenset()
    return frozenset(_valid(links).values_list("run_id", flat=True))


def _valid(links: Iterable[int]) -> QuerySet[ShareLink]:
    return ShareLink.objects.filter(
        pk__in=set(links), revoked_at=None, expires_at__gt=timezone.now()
    )


@lru_cache(maxsize=4096)
def _references(session_data: str) -> tuple[int, tuple[int, ...]]:
    """Whom a stored session names (0: nobody), and the share links that it has opened."""
    session = SessionStore().decode(session_data)
    return int(session.get(SESSION_KEY, 0)), tuple(session.get(GRANTS, ()))


def _team_id(obj: Model) -> int:
    if isinstance(obj, Team):
        return obj.pk
    run: Run | None = getattr(obj, "run", None)
    return run.team_id if run is not None else obj.team_id  # type: ignore[attr-defined]


def _run_id(obj: Model) -> int | None:
    return (
        obj.pk
        if isinstance(obj, Run)
        else getattr(obj, "run_id", None)
        if type(obj) in RUN_OF
        else None
    )
