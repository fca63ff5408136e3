"""Creates the first team and its administrator, and prints their one-time sign-in link."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from webapp.access import members, one_time_links
from webapp.access.addresses import sign_in_address
from webapp.access.models import Membership, Role, User


class Command(BaseCommand):
    help = (
        "Make the first team with an administrator, "
        "and print a one-time sign-in link as long as nobody has signed in."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--email", default="admin@localhost", help="of the administrator")
        parser.add_argument("--team", default="Stillroom", help="name of the team")

    def handle(self, *args: Any, **options: Any) -> None:
        admin = User.objects.filter(memberships__role=Role.ADMIN).order_by("pk").first()
        if admin is None:
            admin = User.objects.filter(
                email=options["email"].lower()
            ).first() or User.objects.create_user(options["email"], name="Admin", is_operator=True)
            members.create_team(options["team"], admin)
        elif Membership.objects.filter(user__last_login__isnull=False).exists():
            self.stdout.write(
                "Somebody has signed in already. "
                "`python manage.py sign_in_link EMAIL` makes a new link."
            )
            return
        self.stdout.write(sign_in_address(one_time_links.make_sign_in_link(admin)))
