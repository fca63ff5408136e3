"""Saving a comparison under a name, and changes of one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace

from django.db import transaction

from webapp.access.models import Team, User
from webapp.comparisons import interest
from webapp.comparisons.choices import Choices
from webapp.comparisons.models import SavedComparison
from webapp.runs.models import Run

LONGEST_NAME = 120


class CannotSave(Exception):
    """The comparison cannot be saved; the message says why and what to do."""


class ComparisonChanged(CannotSave):
    """Somebody else saved changes since the comparison that is to be changed had been read."""


def save(
    team: Team, user: User | None, name: str, runs: Sequence[Run], choices: Choices
) -> SavedComparison:
    """Save a comparison of runs of one team, with its present δ. Raises CannotSave."""
    name = name.replace("\0", "").strip()
    if not runs:
        raise CannotSave("No runs were named. Select runs in the list of runs and compare them.")
    if not name:
        raise CannotSave("The comparison has no name. Type one.")
    if len(name) > LONGEST_NAME:
        raise CannotSave(f"The name is longer than {LONGEST_NAME} characters. Shorten it.")
    if any(run.team_id != team.pk for run in runs):
        raise CannotSave(
            f"Some of the runs belong to another team than {team.name}. "
            "Compare and save runs of one team."
        )
    with transaction.atomic():
        saved = SavedComparison.objects.create(
            team=team,
            name=name,
            choices=_with_interest(choices, interest.of_team(team)).stored(),
            created_by=user,
        )
        saved.runs.set(runs)
    return saved


def save_changes(saved: SavedComparison, choices: Choices, before: str) -> None:
    """Replace the choices of a comparison, of which those of the digest `before` had been read.

    Raises ComparisonChanged if it has others now, and CannotSave if it was deleted.
    """
    with transaction.atomic():
        stored = SavedComparison.objects.select_for_update().filter(pk=saved.pk).first()
        if stored is None:
            raise CannotSave("This comparison was deleted meanwhile. Save yours as a new one.")
        if digest_of(stored) != before:
            raise ComparisonChanged(
                "Somebody else changed this comparison meanwhile. Nothing is saved yet: this page "
                "has your choices. Save again to replace theirs, or show it as saved."
            )
        stored.choices = choices.stored()
        stored.save(update_fields=["choices"])


def digest_of(saved: SavedComparison) -> str:
    """Return what identifies the choices of a comparison in a form."""
    return hashlib.sha256(json.dumps(saved.choices, sort_keys=True).encode()).hexdigest()


def default_name(runs: Sequence[Run]) -> str:
    """Return the names of the first runs, as the name of a comparison that was given none."""
    names = list(dict.fromkeys(run.name for run in runs))
    more = f" and {len(names) - 2} more" if len(names) > 2 else ""
    return f"{', '.join(names[:2])[: LONGEST_NAME - len(more)]}{more}"


def _with_interest(choices: Choices, default: float) -> Choices:
    """Return the choices with their δ as a number, so that they keep it."""
    value = interest.number_in(choices.asked_interest) or default
    return replace(choices, asked_interest=repr(value))
