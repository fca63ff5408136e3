"""Access rules: who may see and do what. No other module decides about access.

Views, API and consumers take their querysets from `visible` and call `require` before they act:
what an actor cannot see does not exist (404); what they see but may not do is refused (403).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeVar

from django.core.exceptions import PermissionDenied
from django.db.models import Model, Q, QuerySet
from django.http import Http404, HttpRequest

from webapp.access.actors import Actor, actor_of
from webapp.access.models import Role, Team
from webapp.access.registry import Ownership, ownership_of

Action = Literal["view", "download", "edit", "start", "stop", "share", "admin", "operate"]
M = TypeVar("M", bound=Model)
View = TypeVar("View", bound=Callable[..., Any])

ALLOWED: dict[str, frozenset[Action]] = {
    Role.VIEWER: frozenset({"view", "download"}),
    Role.EDITOR: frozenset({"view", "download", "edit", "start", "stop", "share"}),
    Role.ADMIN: frozenset({"view", "download", "edit", "start", "stop", "share", "admin"}),
}
# A guest reads the pages of the shared run or comparison; checkpoints and other files stay with the
# team.
GUEST: frozenset[Action] = frozenset({"view"})


def visible(actor: Actor, model: type[M]) -> QuerySet[M]:
    """Return every object of `model` that the actor may see, in all their teams.

    Deleted ones exist for nobody (see `deleted`). Raises NotRegistered for a model that no app has
    registered.
    """
    ownership = ownership_of(model)
    if ownership.team is None:
        manager = model._default_manager
        return manager.all() if actor.user is not None else manager.none()
    teams = [team for team, role in actor.roles.items() if "view" in ALLOWED[role]]
    allowed = Q(**{f"{ownership.team}__in": teams})
    for path, shared in _shared_paths(actor, ownership):
        allowed |= Q(**{f"{path}__in": shared})
    present = Q() if ownership.deleted is None else Q(**{ownership.deleted: None})
    return model._default_manager.filter(allowed, present)


def deleted(actor: Actor, model: type[M]) -> QuerySet[M]:
    """Return the deleted objects that the actor may restore: those that they could edit before."""
    ownership = ownership_of(model)
    assert ownership.deleted is not None and ownership.team is not None
    teams = [team for team, role in actor.roles.items() if "edit" in ALLOWED[role]]
    return model._default_manager.filter(
        **{f"{ownership.team}__in": teams, f"{ownership.deleted}__isnull": False}
    )


def may(actor: Actor, action: Action, instance: Model) -> bool:
    """Return whether the actor may do `action` to `instance`, or in it if it is a team."""
    ownership = ownership_of(type(instance))
    if ownership.team is None:
        if actor.user is None:
            return False
        return action == "view" or (action == "operate" and actor.user.is_operator)
    if ownership.deleted is not None and _value_at(instance, ownership.deleted) is not None:
        return False
    role = actor.roles.get(_key_at(instance, ownership.team))
    if role is not None and action in ALLOWED[role]:
        return True
    return action in GUEST and any(
        _key_at(instance, path) in shared for path, shared in _shared_paths(actor, ownership)
    )


def may_in_team(actor: Actor, action: Action) -> bool:
    """Return whether the actor may do `action` in their current team, for buttons and menus."""
    return actor.team is not None and may(actor, action, actor.team)


def require(actor: Actor, action: Action, instance: M | None) -> M:
    """Return `instance` if the actor may do `action` to it.

    Raises Http404 if they cannot see it, PermissionDenied if they may not do that.
    """
    if instance is None or not may(actor, "view", instance):
        raise Http404("not found")
    if may(actor, action, instance):
        return instance
    if actor.user is None:
        raise PermissionDenied("A shared link only shows the run or the comparison.")
    if action == "operate":
        raise PermissionDenied("Only operators of this installation may do that.")
    raise PermissionDenied("Your role in this team does not allow that.")


def find(actor: Actor, action: Action, model: type[M], **lookup: Any) -> M:
    """Return the visible object that matches `lookup`, if the actor may do `action` to it.

    Raises as `require` does.
    """
    # Postgres refuses text with a NUL character, which would answer 500 to a URL that holds %00.
    if any(isinstance(value, str) and "\0" in value for value in lookup.values()):
        raise Http404("no name holds a NUL character")
    return require(actor, action, visible(actor, model).filter(**lookup).first())


def current_team(request: HttpRequest) -> Team:
    """Return the team whose pages are shown. Raises PermissionDenied for a person without team."""
    team = actor_of(request).team
    if team is None:
        raise PermissionDenied("You are in no team yet. Ask somebody of a team for an invitation.")
    return team


def shown_to_guests(view: View) -> View:
    """Mark a view that guests with a share link may open; all others need a signed-in member."""
    view.shown_to_guests = True  # type: ignore[attr-defined]
    return view


def _shared_paths(actor: Actor, ownership: Ownership) -> list[tuple[str, frozenset[int]]]:
    """Return the paths to what share links show of a model, with what they show to the actor."""
    paths = (
        (ownership.run, actor.guest_runs),
        (ownership.comparison, actor.guest_comparisons),
    )
    return [(path, shared) for path, shared in paths if path is not None and shared]


def _key_at(instance: Model, path: str) -> Any:
    """Return the key at a lookup path such as `run__team`, without a query for its last part."""
    return _value_at(instance, path if path.endswith("pk") else f"{path}_id")


def _value_at(instance: Model, path: str) -> Any:
    """Return the value at a lookup path such as `run__deleted_at`."""
    *relations, last = path.split("__")
    value: Any = instance
    for relation in relations:
        value = getattr(value, relation)
        # The link of a comparison has no run.
        if value is None:
            return None
    return getattr(value, last)
