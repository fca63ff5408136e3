"""Who may see and do what: the only place where access is decided.

An *actor* is a member of teams, a guest who opened a share link, both, or nobody. Views, API and consumers take their querysets from
`visible` and ask `require` before they act: what an actor cannot see does not exist (404); what they see but may not do is refused (403).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from django.contrib.auth import SESSION_KEY, get_user
from django.contrib.auth.models import AnonymousUser
from django.contrib.sessions.backends.base import SessionBase
from django.contrib.sessions.backends.db import SessionStore
from django.core.exceptions import PermissionDenied
from django.db.models import Model, Q, QuerySet
from django.http import Http404, HttpRequest
from django.utils import timezone

from webapp.runs.models import Artifact, Attempt, Checkpoint, DataSet, Event, RolloutRow, Run, StoredModel, Transition
from webapp.sharing.models import ShareLink
from webapp.teams.models import Invitation, Membership, Role, Team, User

Action = Literal["view", "download", "edit", "start", "stop", "share", "admin"]
M = TypeVar("M", bound=Model)
View = TypeVar("View", bound=Callable[..., Any])

ALLOWED: dict[str, frozenset[Action]] = {
    Role.VIEWER: frozenset({"view", "download"}),
    Role.EDITOR: frozenset({"view", "download", "edit", "start", "stop", "share"}),
    Role.ADMIN: frozenset({"view", "download", "edit", "start", "stop", "share", "admin"}),
}
GUEST: frozenset[Action] = frozenset({"view"})

# How each kind of object hangs on its team, and on the one run that a share link shows.
IN_TEAM: tuple[type[Model], ...] = (Run, DataSet, StoredModel, Artifact, Membership, Invitation)
IN_RUN: tuple[type[Model], ...] = (Attempt, Transition, Event, RolloutRow, Checkpoint)
TEAM_OF: dict[type[Model], str] = {
    Team: "pk",
    **dict.fromkeys(IN_TEAM, "team"),
    **dict.fromkeys((*IN_RUN, ShareLink), "run__team"),
}
RUN_OF: dict[type[Model], str] = {Run: "pk", **dict.fromkeys(IN_RUN, "run")}

GRANTS = "share_links"
CURRENT_TEAM = "team"


@dataclass(frozen=True)
class Actor:
    """Who asks. `roles` maps team id to role; `team` is the team whose pages are shown; `guest_runs` are open to them by share links."""

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
    return actor_of_session(SessionStore(source["session"].session_key), None)


def actor_of_session(session: SessionBase, user: User | AnonymousUser | None) -> Actor:
    """The actor of a session; `user` is looked up in the session if None."""
    person = user if user is not None else _user_of(session)
    guest_runs = _granted_runs(session.get(GRANTS, []))
    if not isinstance(person, User) or not person.is_active:
        return Actor(guest_runs=guest_runs)
    memberships = list(person.memberships.select_related("team").order_by("team__name", "team_id"))
    teams = {membership.team.slug: membership.team for membership in memberships}
    team = teams.get(session.get(CURRENT_TEAM, "")) or next(iter(teams.values()), None)
    return Actor(person, {membership.team_id: membership.role for membership in memberships}, team, guest_runs)


def visible(actor: Actor, model: type[M]) -> QuerySet[M]:
    """Everything of `model` that the actor may see, of all their teams."""
    teams = [team for team, role in actor.roles.items() if "view" in ALLOWED[role]]
    allowed = Q(**{f"{TEAM_OF[model]}__in": teams})
    if model in RUN_OF and actor.guest_runs:
        allowed |= Q(**{f"{RUN_OF[model]}__in": actor.guest_runs})
    return model._default_manager.filter(allowed)


def may(actor: Actor, action: Action, obj: Model) -> bool:
    """Whether the actor may do `action` to `obj`, or to anything in it if it is a team."""
    role = actor.roles.get(_team_id(obj))
    if role is not None and action in ALLOWED[role]:
        return True
    return action in GUEST and _run_id(obj) in actor.guest_runs


def require(actor: Actor, action: Action, obj: M | None) -> M:
    """Return `obj` if the actor may do `action` to it. Raises Http404 if they cannot see it, PermissionDenied if they may not."""
    if obj is None or not may(actor, "view", obj):
        raise Http404("not found")
    if not may(actor, action, obj):
        raise PermissionDenied("Your role in this team does not allow that." if actor.user else "A shared link only shows the run.")
    return obj


def find(actor: Actor, action: Action, model: type[M], **lookup: Any) -> M:
    """The one visible object that matches `lookup`, if the actor may do `action` to it. Raises as `require` does."""
    if any(isinstance(value, str) and "\0" in value for value in lookup.values()):
        raise Http404("no name holds a NUL character")  # and Postgres would refuse the query
    return require(actor, action, visible(actor, model).filter(**lookup).first())


def shown_to_guests(view: View) -> View:
    """Marks a view that somebody with a share link may open; every other view needs a signed-in member."""
    view.shown_to_guests = True  # type: ignore[attr-defined]
    return view


def _user_of(session: SessionBase) -> User | AnonymousUser:
    if SESSION_KEY not in session:
        return AnonymousUser()
    request = HttpRequest()
    request.session = session
    found = get_user(request)
    return found if isinstance(found, User) else AnonymousUser()


def _granted_runs(links: list[int]) -> frozenset[int]:
    if not links:
        return frozenset()
    valid = ShareLink.objects.filter(pk__in=links, revoked_at=None, expires_at__gt=timezone.now())
    return frozenset(valid.values_list("run_id", flat=True))


def _team_id(obj: Model) -> int:
    if isinstance(obj, Team):
        return obj.pk
    run: Run | None = getattr(obj, "run", None)
    return run.team_id if run is not None else obj.team_id  # type: ignore[attr-defined]


def _run_id(obj: Model) -> int | None:
    return obj.pk if isinstance(obj, Run) else getattr(obj, "run_id", None) if type(obj) in RUN_OF else None
