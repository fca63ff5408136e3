"""Saving a comparison under a name."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import transaction

from webapp.access.models import Team, User
from webapp.comparisons.choices import Choices
from webapp.comparisons.models import SavedComparison
from webapp.runs.models import Run

LONGEST_NAME = 120


class CannotSave(Exception):
    """The comparison cannot be saved; the message says why and what to do."""


def save(
    team: Team, user: User | None, name: str, runs: Sequence[Run], choices: Choices
) -> SavedComparison:
    """Save a comparison of runs of one team. Raises CannotSave."""
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
            team=team, name=name, choices=choices.stored(), created_by=user
        )
        saved.runs.set(runs)
    return saved
