"""The page that compares runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.test import Client

from tests.webapp.compared import compared, definition, solved
from webapp.access.models import Team, User
from webapp.runs.models import Run

pytestmark = pytest.mark.django_db


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def text_of(client: Client, address: str) -> str:
    response = client.get(address)
    assert response.status_code == 200, response.content.decode()
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode()))


def address_of(*runs: Run, **choices: str) -> str:
    query = "&".join(f"{name}={value}" for name, value in choices.items())
    return f"/compare/?runs={','.join(run.public_id for run in runs)}&{query}"


@pytest.fixture
def pair(still: Team, alice: User, tmp_path: Path) -> tuple[Run, Run]:
    """Two runs with another setting, of which the second solves far more."""
    return (
        compared(still, alice, tmp_path / "a", solved(0.3), definition(0), "plain"),
        compared(still, alice, tmp_path / "b", solved(0.8, seed=1), definition(0, 2.0), "sharp"),
    )


def test_two_runs_are_compared_problem_by_problem(alice: User, pair: tuple[Run, Run]) -> None:
    text = text_of(signed_in(alice), address_of(*pair))
    assert "sharp against plain: Higher by" in text
    assert "over 40 problems" in text and "two checkpoints, not about settings" in text
    assert "pool.weighting.alpha 1.0 2.0" in text and "data.train.count" not in text
