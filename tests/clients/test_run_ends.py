"""How runs of clients end: by silence, by hand, and as archived runs; data is never refused."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from tests.clients.test_mlflow import Caller, caller, run_id
from tests.clients.test_trackio import curve, post
from tests.webapp.conftest import member
from tests.webapp.streams import content_of
from webapp.access.models import Role, Team, User
from webapp.api import mlflow_search
from webapp.api.requests import ApiError
from webapp.clients.models import Project
from webapp.runs.models import Event, Run, State

__all__ = ["caller", "run_id"]
pytestmark = pytest.mark.django_db(transaction=True)


def log(site: str, token: str, *steps: int, created: str = "1") -> Run:
    entry = {"project": "sums", "run": "sums run", "run_id": "r1", "config": {"_Created": created}}
    logs = [
        {**entry, "metrics": {"loss": float(created)}, "step": step, "log_id": f"{created} {step}"}
        for step in steps
    ]
    post(site, token, "bulk_log", logs=logs)
    return Run.objects.get()


def change(client: Client, action: str, run_id: str, **more: str) -> None:
    client.post("/runs/selected/", {"action": action, "run": run_id, **more})


def shown(client: Client, path: str) -> str:
    return client.get(path).content.decode()


def test_a_silent_run_is_shown_as_silent_until_it_logs_again(
    site: str, token: str, client: Client, erin: User
) -> None:
    client.force_login(erin)
    run = log(site, token, 0, 1)
    Run.objects.update(last_event_at=timezone.now() - timedelta(minutes=6))
    page = shown(client, f"/runs/{run.public_id}/")
    assert "data-heard hidden>logging</span>" in " ".join(page.split())
    assert "sums run" in shown(client, "/?state=silent")
    log(site, token, 2)
    page = shown(client, f"/runs/{run.public_id}/")
    assert "data-heard >logging</span>" in " ".join(page.split())
    assert "sums run" not in shown(client, "/?state=silent")


def test_a_run_is_ended_and_reopened_by_hand_and_takes_data_all_the_same(
    site: str, token: str, client: Client, erin: User
) -> None:
    client.force_login(erin)
    run = log(site, token, 0)
    assert "End run" in shown(client, f"/runs/{run.public_id}/")
    client.post(f"/runs/{run.public_id}/end/")
    run.refresh_from_db()
    assert (run.state, run.finished_at) == (State.COMPLETED, run.last_event_at)
    transition = run.transitions.latest("pk")
    assert (transition.reason, transition.actor) == ("Ended by hand.", erin)
    # A late value of the same process ends up in the run and does not reopen it.
    run = log(site, token, 1)
    assert run.state == State.COMPLETED and len(curve(run, "loss")) == 2
    client.post(f"/runs/{run.public_id}/reopen/")
    run.refresh_from_db()
    assert (run.state, run.finished_at) == (State.RUNNING, None)


def test_a_process_that_resumes_an_ended_run_reopens_it(
    site: str, token: str, client: Client, erin: User
) -> None:
    client.force_login(erin)
    run = log(site, token, 0)
    client.post(f"/runs/{run.public_id}/end/")
    assert log(site, token, 1, created="2").state == State.RUNNING


def test_runs_that_no_client_logs_are_not_ended_by_hand(
    site: str, token: str, client: Client, erin: User
) -> None:
    client.force_login(erin)
    run = log(site, token, 0)
    Run.objects.update(source=Run.Source.IMPORTED)
    for action in ("end", "reopen"):
        answer = client.post(f"/runs/{run.public_id}/{action}/", follow=True)
        assert "Only a run" in answer.content.decode()
    assert Run.objects.get().state == State.RUNNING


def test_a_second_training_says_what_it_replaced_and_keeps_it_reachable(
    site: str, token: str, client: Client, erin: User
) -> None:
    client.force_login(erin)
    log(site, token, *range(5))
    run = log(site, token, *range(3), created="2")
    assert curve(run, "loss") == dict.fromkeys(range(3), 2.0)
    message = Event.objects.get(type="log").payload["message"]
    assert message.startswith("The client logged step 0 again.")
    link = f"/runs/{run.public_id}/series.csv?abandoned=1"
    assert link in shown(client, f"/runs/{run.public_id}/")
    answer = client.get(link)
    lines = content_of(answer).decode().splitlines()
    assert len(lines) == 1 + 5 + 3


def test_an_archived_run_leaves_the_list_and_is_restored_on_its_page(
    caller: Caller, run_id: str, client: Client, erin: User
) -> None:
    client.force_login(erin)
    caller.post("runs/delete", {"run_id": run_id})
    page = f"/runs/{run_id}/"
    assert run_id not in shown(client, "/") and run_id in shown(client, "/?state=archived")
    assert "archived</span>" in shown(client, page) and "Restore" in shown(client, page)
    change(client, "restore", run_id)
    assert run_id in shown(client, "/") and run_id not in shown(client, "/?state=archived")


def test_a_viewer_and_a_stranger_end_and_restore_nothing(
    caller: Caller, run_id: str, client: Client, still: Team
) -> None:
    caller.post("runs/delete", {"run_id": run_id})
    mash = Team.objects.create(name="Mash", slug="mash")
    for person, status in (
        (member("bob@still.example", "Bob", still, Role.VIEWER), 403),
        (member("charlie@mash.example", "Charlie", mash, Role.ADMIN), 404),
    ):
        client.force_login(person)
        for action in ("end", "reopen"):
            assert client.post(f"/runs/{run_id}/{action}/").status_code == status
        change(client, "restore", run_id)
    assert Run.objects.get().archived_at is not None


def test_a_new_run_brings_its_archived_project_back(
    site: str, token: str, caller: Caller, client: Client, erin: User
) -> None:
    """Else what is logged now would be hidden."""
    client.force_login(erin)
    created = caller.post("experiments/create", {"name": "sums"}).json()
    caller.post("experiments/delete", created)
    run = log(site, token, 0)
    assert run.public_id in shown(client, "/")
    stage = caller.get("experiments/get", **created).json()["experiment"]["lifecycle_stage"]
    assert stage == "active"


def test_a_run_of_a_deleted_experiment_is_restored_with_it_on_its_page(
    caller: Caller, run_id: str, client: Client, erin: User
) -> None:
    client.force_login(erin)
    caller.post("experiments/delete", {"experiment_id": str(Project.objects.get().pk)})
    assert run_id not in shown(client, "/")
    change(client, "restore", run_id)
    assert run_id in shown(client, "/") and Project.objects.get().archived_at is None


def test_a_search_by_metrics_of_too_many_runs_is_refused_with_what_to_do(
    caller: Caller, run_id: str, monkeypatch: pytest.MonkeyPatch, erin: User, still: Team
) -> None:
    monkeypatch.setattr(mlflow_search, "MOST_READ", 0)
    with pytest.raises(ApiError, match="Add a condition on a parameter, a tag or start_time"):
        mlflow_search.find_runs(Run.objects.all(), "metrics.loss < 1", [], 0, 10)
