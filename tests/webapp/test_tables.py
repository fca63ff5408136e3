"""The tables in the database are those of the models."""

from __future__ import annotations

import pytest
from django.core.management import call_command


@pytest.mark.django_db
def test_every_change_of_a_model_has_a_migration() -> None:
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)
