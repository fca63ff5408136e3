"""The pages of a run, as they answer."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.test import Client

from tests.webapp.recorded import recorded
from webapp.runs.models import Run
from webapp.teams.models import Team, User

TABS = ("", "frontier/", "rollouts/", "log/", "config/", "checkpoints/")


@pytest.fixture
def finished(still: Team, alice: User, tmp_path: Path) -> Run:
    return recorded(still, alice, tmp_path)


@pytest.mark.parametrize("tab", TABS)
def test_a_run_that_waits_has_every_tab(client: Client, run: Run, bob: User, tab: str) -> None:
    client.force_login(bob)
    assert client.get(f"/runs/{run.public_id}/{tab}").status_code == 200


@pytest.mark.parametrize("tab", TABS)
def test_a_stranger_sees_no_tab(client: Client, run: Run, charlie: User, tab: str) -> None:
    client.force_login(charlie)
    assert client.get(f"/runs/{run.public_id}/{tab}").status_code == 404


def test_the_overview_says_the_result_in_words(client: Client, finished: Run, bob: User) -> None:
    client.force_login(bob)
    page = client.get(f"/runs/{finished.public_id}/").content.decode()
    assert "40.0 % → 52.0 % of the held-out problems: better than before, beyond the noise of the measurement." in page
    assert "All stages are done." in page
