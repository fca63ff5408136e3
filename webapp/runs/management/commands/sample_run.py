"""Queues the sample run of the first team, once."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand
from django.db.models import Q

import trainer.recipes
import trainer.spec
from webapp.access.management import team_option
from webapp.access.models import Role, User
from webapp.runs import lifecycle
from webapp.runs.models import Run

TAG = "sample"


class Command(BaseCommand):
    help = "Queue the sample run of the first team, unless it was queued before."

    def handle(self, *args: Any, **options: Any) -> None:
        team = team_option.team(None)
        recipe = trainer.recipes.load("paced")
        definition = trainer.spec.to_dict(recipe.spec("sample"))
        # `make run` calls this at every start. A sample run that was removed for good is queued
        # again, one that somebody renamed or whose tag somebody removed is not.
        sample = Q(tags__contains=[TAG]) | Q(recipe="paced", spec__name=definition["name"])
        if Run.objects.filter(sample, team=team).exists():
            self.stdout.write("The sample run is there already.")
            return
        owner = (
            User.objects.filter(memberships__team=team, memberships__role=Role.ADMIN)
            .order_by("pk")
            .first()
        )
        run = lifecycle.create_run(team, owner, definition, tags=[TAG])
        self.stdout.write(f"Queued “{run.name}” as {run.public_id}.")
