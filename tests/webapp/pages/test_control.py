"""Stop, resume, run again, delete: who may, and what the page says when it cannot be done."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.test import Client

from tests.webapp.recorded import Recorder, recorded
from webapp.access.models import Team, User
from webapp.runs.models import Run, State

DEEDS = ("stop", "resume", "clone", "delete")


@pytest.mark.parametrize("deed", DEEDS)
def test_a_viewer_may_do_nothing_to_a_run(client: Client, run: Run, bob: User, deed: str) -> None:
    client.force_login(bob)
    assert client.post(f"/runs/{run.public_id}/{deed}/").status_code == 403


@pytest.mark.parametrize("deed", DEEDS)
def test_a_link_alone_does_nothing(client: Client, run: Run, alice: User, deed: str) -> None:
    client.force_login(alice)
    assert client.get(f"/runs/{run.public_id}/{deed}/").status_code == 405


@pytest.mark.parametrize("deed", DEEDS)
def test_a_form_from_elsewhere_does_nothing(run: Run, alice: User, deed: str) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(alice)
    assert client.post(f"/runs/{run.public_id}/{deed}/").status_code == 403


def test_stopping_asks_first_and_insists_when_asked_again(
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


def test_what_cannot_be_done_is_said(
    client: Client, still: Team, alice: User, tmp_path: Path
) -> None:
    run = recorded(still, alice, tmp_path)
    client.force_login(alice)
    page = client.post(f"/runs/{run.public_id}/resume/", follow=True).content.decode()
    assert "This run is completed; only a paused, stopped or failed run can be resumed." in page


def test_running_again_makes_a_new_run_of_the_same_definition(
    client: Client, still: Team, alice: User, erin: User, tmp_path: Path
) -> None:
    run = recorded(still, alice, tmp_path)
    client.force_login(erin)
    client.post(f"/runs/{run.public_id}/clone/")
    again = Run.objects.exclude(pk=run.pk).get()
    assert (again.parent, again.spec, again.owner, again.state) == (
        run,
        run.spec,
        erin,
        State.QUEUED,
    )


def test_deleting_leaves_a_word_behind(
    client: Client, still: Team, alice: User, tmp_path: Path
) -> None:
    run = recorded(still, alice, tmp_path)
    client.force_login(alice)
    page = client.post(f"/runs/{run.public_id}/delete/", follow=True).content.decode()
    assert "“paced on arithmetic” was deleted." in page
    assert not Run.objects.exists()


def test_a_run_at_work_is_not_deleted(client: Client, run: Run, alice: User) -> None:
    client.force_login(alice)
    assert (
        "Stop this run before you delete it."
        in client.post(f"/runs/{run.public_id}/delete/", follow=True).content.decode()
    )
