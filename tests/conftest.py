"""Fixtures for every test. Postgres and Redis come from the plugin `tests.services`."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("no timing", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("no timing")


@pytest.fixture(scope="session")
def django_db_modify_db_settings(services: None) -> None:
    """Start the services before pytest-django makes its test database; tests without a database never pay for them."""


@pytest.fixture(scope="session")
def child_environment(services: None, django_db_setup: None) -> dict[str, str]:
    """Environment for processes that a test starts (web, worker, manage.py): they use the test database, not the one beside it."""
    from django.db import connection

    beside = urlsplit(os.environ["DATABASE_URL"])
    ours = f"{beside.scheme}://{beside.netloc}/{connection.settings_dict['NAME']}?{beside.query}"
    return {**os.environ, "DATABASE_URL": ours}
