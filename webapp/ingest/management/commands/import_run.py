"""Imports a run that was made elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from webapp.access.models import Team
from webapp.ingest.run_folder import NoRunFolder, import_folder
from webapp.runs.models import Run


class Command(BaseCommand):
    help = "Import a run's folder, as `python -m trainer run --dir` leaves it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("folder", type=Path)
        parser.add_argument("--team", help="short name of the team; the first one if left out")
        parser.add_argument(
            "--into",
            metavar="RUN",
            help="id of an imported run to continue, for a folder that has grown",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        teams = Team.objects.order_by("pk")
        team = (teams.filter(slug=options["team"]) if options["team"] else teams).first()
        if team is None:
            raise CommandError(
                "There is no such team."
                if options["team"]
                else "There is no team yet. Run `first_admin` first."
            )
        into = None
        if options["into"]:
            into = Run.objects.filter(
                team=team, public_id=options["into"], source=Run.Source.IMPORTED
            ).first()
            if into is None:
                raise CommandError(f"The team {team.slug} has no imported run {options['into']}.")
        try:
            run = import_folder(options["folder"].resolve(), team, None, into)
        except NoRunFolder as problem:
            raise CommandError(str(problem)) from problem
        self.stdout.write(
            f"Imported “{run.name}” as {run.public_id}: {run.state} at step {run.step}."
        )
