"""Stop, resume, clone: who may do it, and what the page says if it is impossible."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.test import Client

from tests.webapp.recorded import Recorder, recorded
from webapp.access.models import Team, User
from webapp.runs.models import Run, State

ACTIONS = ("stop", "resume", "clone", "rename")


@pytest.mark.parametrize("action", ACTIONS)
def test_a_viewer_cannot_control_a_run(client: Client, run: Run, bob: User, action: str) -> None:
    client.force_login(bob)
    assert client.post(f"/runs/{run.public_id}/{action}/").status_code == 403


@pytest.mark.parametrize("action", ACTIONS)
def test_a_get_request_does_not_control_a_run(
    client: Client, run: Run, alice: User, action: str
) -> None:
    client.force_login(alice)
    assert client.get(f"/runs/{run.public_id}/{action}/").status_code == 405


@pytest.mark.parametrize("action", ACTIONS)
def test_a_form_without_csrf_token_does_not_control_a_run(
    run: Run, alice: User, action: str
) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(alice)
    assert client.post(f"/runs/{run.public_id}/{action}/").status_code == 403


def test_the_first_stop_is_cooperative_and_the_second_is_forced(
    client: Client, run: Run, erin: User, tmp_path: Path
) -> None:
    Recorder(run, tmp_path).begin()
    client.force_login(erin)
    page = client.post(f"/runs/{run.public_id}/stop/", follow=True).content.decode()
    run.refresh_from_db()
    assert (run.state, run.force_requested_at) == (State.STOPPING, None)
    assert "Stop at once" in page
    client.post(f"/runs/{run.public_id}/stop/", {"force": "1"})
    run.refresh_from_db()
    assert run.force_requested_at is not None


def test_a_stopped_run_can_be_resumed(client: Client, run: Run, erin: User, tmp_path: Path) -> None:
    Recorder(run, tmp_path).end("stopped", "Stopped on request.")
    client.force_login(erin)
    assert "Resume" in client.get(f"/runs/{run.public_id}/").content.decode()
    client.post(f"/runs/{run.public_id}/resume/")
    run.refresh_from_db()
    assert run.state == State.QUEUED


def test_an_impossible_action_says_why(
    client: Client, still: Team, alice: User, tmp_path: Path
) -> None:
    run = recorded(still, alice, tmp_path)
    client.force_login(alice)
    page = client.post(f"/runs/{run.public_id}/resume/", follow=True).content.decode()
    assert "This run is completed; only a paused, stopped or failed run can be resumed." in page


def test_run_again_creates_a_run_with_the_same_definition(
    client: Client, still: Team, alice: User, erin: User, tmp_path: Path
) -> None:
    run = recorded(still, alice, tmp_path)
    client.force_login(erin)
    client.post(f"/runs/{run.public_id}/clone/")
    clone = Run.objects.exclude(pk=run.pk).get()
    assert (clone.parent, clone.spec, clone.owner, clone.state) == (
        run,
        run.spec,
        erin,
        State.QUEUED,
    )
