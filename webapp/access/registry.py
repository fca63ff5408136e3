"""The lookup paths from each model to its team and to what a share link shows of it.

The apps above register them.

Access rules apply to models that this package does not import. Each app registers its own models
in `AppConfig.ready`. A model that is not registered raises `NotRegistered` at the first access
check, so that a forgotten one is refused, never shown.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from django.db.models import Model

# What a share link can show, with its primary key.
Shared = tuple[Literal["run", "comparison"], int]
# Takes ids of grants; returns the valid ones with what each of them opens.
GrantReader = Callable[[Collection[int]], Mapping[int, Shared]]


class NotRegistered(LookupError):
    """No app registered this model; register it in the `AppConfig.ready` of its app."""


@dataclass(frozen=True)
class Ownership:
    """Lookup paths from an object to its team, and to the run or comparison that a link shows.

    `team` is None for models of the whole installation; `run` and `comparison` are None for models
    that such a link does not show. A path is written as in a query: `run__team`, or `pk` for the
    object itself.
    `deleted` leads to the time at which the object, or the run that it belongs to, was deleted;
    None for models whose rows exist until they are removed for good.
    """

    team: str | None
    run: str | None = None
    comparison: str | None = None
    deleted: str | None = None


_ownerships: dict[type[Model], Ownership] = {}
_grant_readers: list[GrantReader] = []


def register(
    *models: type[Model],
    team: str | None,
    run: str | None = None,
    comparison: str | None = None,
    deleted: str | None = None,
) -> None:
    """Register the paths of these models (see `Ownership`)."""
    _ownerships.update(dict.fromkeys(models, Ownership(team, run, comparison, deleted)))


def register_grants(reader: GrantReader) -> None:
    """Register a reader that says which grants of a session are valid."""
    # Django may call `AppConfig.ready`, and so this, more than once in a process of tests.
    if reader not in _grant_readers:
        _grant_readers.append(reader)


def ownership_of(model: type[Model]) -> Ownership:
    """Return the paths of a model. Raises NotRegistered if no app registered it."""
    try:
        return _ownerships[model]
    except KeyError:
        raise NotRegistered(
            f"{model._meta.label} is not registered; call registry.register in its AppConfig"
        ) from None


def valid_grants(grants: Collection[int]) -> dict[int, Shared]:
    """Return what each grant of a session opens, for those that are valid."""
    if not grants:
        return {}
    return {grant: shared for reader in _grant_readers for grant, shared in reader(grants).items()}
