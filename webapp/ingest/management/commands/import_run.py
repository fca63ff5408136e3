"""Imports a run that was made elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from webapp.access.management import team_option
from webapp.ingest.run_folder import NoRunFolder, import_folder
from webapp.runs.models import Run


class Command(BaseCommand):
    help = "Import a run's folder, as `python -m trainer run --dir` leaves it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("folder", type=Path)
        team_option.add_to(parser)
        parser.add_argument(
            "--into",
            metavar="RUN",
            help="id of an imported run to continue, for a folder that has grown",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        team = team_option.team(options["team"])
        into = None
        if options["into"]:
            into = Run.objects.filter(
                team=team,
                public_id=options["into"],
                source=Run.Source.IMPORTED,
                deleted_at=None,
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
