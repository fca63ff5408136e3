"""Makes a person an operator of the machines, or removes that right."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from webapp.access.models import User


class Command(BaseCommand):
    help = (
        "Let the person with this email address look after the machines: "
        "drain them, take them back into use, delete lost ones."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("email")
        parser.add_argument("--remove", action="store_true", help="take it back instead")

    def handle(self, *args: Any, **options: Any) -> None:
        users = User.objects.filter(email=options["email"].strip().lower())
        if not users.update(is_operator=not options["remove"]):
            raise CommandError(f"Nobody has the address {options['email']}.")
        status = "no operator any more" if options["remove"] else "an operator now"
        self.stdout.write(f"{options['email']} is {status}.")
