"""Prints a link that signs one person in, once."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from webapp.access import one_time_links
from webapp.access.addresses import sign_in_address
from webapp.access.models import User


class Command(BaseCommand):
    help = "Print a link that signs the person with this email address in, once, within a day."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("email")

    def handle(self, *args: Any, **options: Any) -> None:
        user = User.objects.filter(email=options["email"].strip().lower()).first()
        if user is None:
            addresses = ", ".join(
                User.objects.order_by("email").values_list("email", flat=True)[:10]
            )
            raise CommandError(
                f"Nobody has the address {options['email']}. "
                f"There are: {addresses or 'no people yet; run `first_admin`'}."
            )
        self.stdout.write(sign_in_address(one_time_links.make_sign_in_link(user)))
