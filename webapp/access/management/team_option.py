"""The team that a command works for, and its option `--team`."""

from __future__ import annotations

from django.core.management.base import CommandError, CommandParser

from webapp.access.models import Team


def add_to(parser: CommandParser) -> None:
    parser.add_argument("--team", help="short name of the team; the first one if left out")


def team(slug: str | None) -> Team:
    """Return the team of that slug, or the first one. Raises CommandError if there is none."""
    teams = Team.objects.order_by("pk")
    selected = (teams.filter(slug=slug) if slug else teams).first()
    if selected is None:
        raise CommandError(
            "There is no such team."
            if slug
            else "There is no team yet. Run `python manage.py first_admin` first."
        )
    return selected
