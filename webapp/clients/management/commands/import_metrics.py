"""Imports runs from the files of another tracker."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from webapp.access.management import team_option
from webapp.clients.importers import FORMATS, UnreadableFile, import_runs


class Command(BaseCommand):
    help = (
        "Import runs from TensorBoard event files, W&B exports or an MLflow folder. The same "
        "files may be imported again as they grow."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("path", type=Path, help="a folder, or one file")
        parser.add_argument("--from", dest="format", choices=list(FORMATS), required=True)
        team_option.add_to(parser)
        parser.add_argument(
            "--project", help="where the files name none; the name of the folder if left out"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        team = team_option.team(options["team"])
        path = options["path"].resolve()
        if not path.exists():
            raise CommandError(f"{path} does not exist.")
        # Readers search a folder. A single file gets a folder of its own with a link to it, so that
        # its neighbours are not imported.
        with tempfile.TemporaryDirectory() as link_folder:
            if path.is_file():
                (Path(link_folder) / path.name).symlink_to(path)
            folder = Path(link_folder) if path.is_file() else path
            try:
                runs = import_runs(
                    folder,
                    options["format"],
                    team,
                    None,
                    options["project"] or path.stem,
                    self.stdout.write,
                )
            except UnreadableFile as problem:
                raise CommandError(str(problem)) from problem
        for run in runs:
            self.stdout.write(f"“{run.name}” is {run.public_id}, at step {run.step}.")
