"""How each model belongs to a team and to a run, as the apps above register it.

Access decides about models that it does not import. Each app registers its own in
`AppConfig.ready`; a model that nobody registered raises `NotRegistered` at the first question, so
that a forgotten one is refused, never shown.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from django.db.models import Model

# Of the given ids of grants, those that are valid now, with the primary key of the run they open.
GrantReader = Callable[[Collection[int]], Mapping[int, int]]


class NotRegistered(LookupError):
    """No app said to whom this model belongs; register it in its app's `AppConfig.ready`."""


@dataclass(frozen=True)
class Ownership:
    """Lookup paths from an object to its team and to the one run that a share link shows.

    `team` is None for what belongs to the whole installation; `run` is None for what no share
    link shows. A path is written as in a query, such as `run__team`, or `pk` for the object itself.
    """

    team: str | None
    run: str | None = None

    @property
    def is_of_installation(self) -> bool:
        return self.team is None


_ownerships: dict[type[Model], Ownership] = {}
_grant_readers: list[GrantReader] = []


def register(*models: type[Model], team: str | None, run: str | None = None) -> None:
    """Say how objects of these models belong to a team, and to a run that can be shared."""
    _ownerships.update(dict.fromkeys(models, Ownership(team, run)))


def register_grants(reader: GrantReader) -> None:
    """Let `reader` say which grants of a session are valid, and which run each opens."""
    if reader not in _grant_readers:
        _grant_readers.append(reader)


def ownership_of(model: type[Model]) -> Ownership:
    """Raises NotRegistered."""
    try:
        return _ownerships[model]
    except KeyError:
        raise NotRegistered(
            f"{model._meta.label} is not registered; call registry.register in its AppConfig"
        ) from None


def registered() -> frozenset[type[Model]]:
    return frozenset(_ownerships)


def valid_grants(grants: Collection[int]) -> dict[int, int]:
    """Of the ids of grants in a session, those that are valid now → primary key of their run."""
    if not grants:
        return {}
    return {grant: run for reader in _grant_readers for grant, run in reader(grants).items()}
