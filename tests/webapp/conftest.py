"""The cast: Alice (admin of the team Still), Erin (editor), Bob (viewer), and Charlie, who is admin
of another team.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from webapp.access.models import Membership, Role, Team, User
from webapp.runs import leases, lifecycle
from webapp.runs.models import Run

SPEC = {
    "name": "first distillation",
    "recipe": "paced",
    "networks": {"student": {"model": "builtin:student"}, "teacher": {"model": "builtin:teacher"}},
    "stages": [
        {"name": "forward", "until": {"steps": 60}},
        {"name": "on-policy", "until": {"steps": 40}},
    ],
}


@pytest.fixture(autouse=True)
def _own_store(settings, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """Artifacts of a test lie in its own folder."""
    folder = {"OPTIONS": {"location": tmp_path / "store"}}
    settings.STORAGES = {
        **settings.STORAGES,
        "artifacts": {**settings.STORAGES["artifacts"], **folder},
    }


@pytest.fixture
def still(db: None) -> Team:
    return Team.objects.create(name="Still", slug="still")


@pytest.fixture
def alice(still: Team) -> User:
    return member("alice@still.example", "Alice", still, Role.ADMIN)


@pytest.fixture
def erin(still: Team) -> User:
    return member("erin@still.example", "Erin", still, Role.EDITOR)


@pytest.fixture
def bob(still: Team) -> User:
    return member("bob@still.example", "Bob", still, Role.VIEWER)


@pytest.fixture
def charlie(db: None) -> User:
    return member(
        "charlie@other.example",
        "Charlie",
        Team.objects.create(name="Other", slug="other"),
        Role.ADMIN,
    )


@pytest.fixture
def run(still: Team, alice: User) -> Run:
    """A queued run of Alice's."""
    return lifecycle.create_run(still, alice, SPEC)


@pytest.fixture
def claimed(run: Run) -> Run:
    """The same, claimed by a worker: attempt 1 has begun."""
    leases.claim(run.pk, "host-a")
    run.refresh_from_db()
    return run


def member(email: str, name: str, team: Team, role: str) -> User:
    """A person with a role in a team."""
    user = User.objects.create_user(email, name=name)
    Membership.objects.create(team=team, user=user, role=role)
    return user
