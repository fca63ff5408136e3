"""Queues the sample run of the first team, once."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

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
        # `make run` calls this at every start. A sample run that was deleted is queued again.
        if Run.objects.filter(team=team, tags__contains=[TAG]).exists():
            self.stdout.write("The sample run is there already.")
            return
        recipe = trainer.recipes.load("paced")
        owner = (
            User.objects.filter(memberships__team=team, memberships__role=Role.ADMIN)
            .order_by("pk")
            .first()
        )
        run = lifecycle.create_run(
            team, owner, trainer.spec.to_dict(recipe.spec("sample")), tags=[TAG]
        )
        self.stdout.write(f"Queued “{run.name}” as {run.public_id}.")
