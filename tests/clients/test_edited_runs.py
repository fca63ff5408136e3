"""Runs of clients that people rename, tag, archive and delete here while the clients go on."""

from __future__ import annotations

import pytest
from django.test import Client

from tests.clients.test_mlflow import Caller, caller, run_id
from tests.clients.test_run_ends import change, log, shown
from tests.clients.test_trackio import curve, post
from webapp.access.models import User
from webapp.clients.models import Origin
from webapp.runs.models import Run

__all__ = ["caller", "run_id"]
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def editor(client: Client, erin: User) -> Client:
    client.force_login(erin)
    return client


def rename(client: Client, run_id: str, name: str) -> None:
    client.post(f"/runs/{run_id}/rename/", {"name": name})


def tags_of(caller: Caller, run_id: str) -> dict[str, str]:
    tags = caller.get("runs/get", run_id=run_id).json()["run"]["data"]["tags"]
    return {tag["key"]: tag["value"] for tag in tags}


def test_a_name_that_a_person_gave_stays_when_the_client_names_the_run_again(
    caller: Caller, run_id: str, editor: Client
) -> None:
    caller.post("runs/update", {"run_id": run_id, "run_name": "by the client"})
    assert Run.objects.get().name == "by the client"
    rename(editor, run_id, "by Erin")
    caller.post("runs/update", {"run_id": run_id, "run_name": "by the client"})
    caller.post("runs/set-tag", {"run_id": run_id, "key": "mlflow.runName", "value": "again"})
    assert Run.objects.get().name == "by Erin"
    # The client finds what it wrote.
    assert tags_of(caller, run_id)["mlflow.runName"] == "again"


def test_a_trackio_run_that_a_person_renamed_is_found_by_its_clients_name(
    site: str, token: str, editor: Client
) -> None:
    run = log(site, token, 0)
    rename(editor, run.public_id, "by Erin")
    assert len(curve(log(site, token, 1), "loss")) == 2
    answer = post(site, token, "get_runs_for_project", project="sums")
    assert "sums run" in str(answer) and Run.objects.get().name == "by Erin"


def test_tags_of_people_and_of_clients_are_kept_apart(
    caller: Caller, run_id: str, editor: Client
) -> None:
    change(editor, "tag", run_id, tag="ablation")
    caller.post("runs/set-tag", {"run_id": run_id, "key": "ablation", "value": "no"})
    assert Run.objects.get().tags == ["ablation"]
    assert tags_of(caller, run_id)["ablation"] == "no"
    change(editor, "untag", run_id, tag="ablation")
    assert Run.objects.get().tags == [] and tags_of(caller, run_id)["ablation"] == "no"


def test_there_is_one_archive_for_people_and_clients(
    caller: Caller, run_id: str, editor: Client
) -> None:
    def stage() -> str:
        info = caller.get("runs/get", run_id=run_id).json()["run"]["info"]
        return str(info["lifecycle_stage"])

    change(editor, "archive", run_id)
    assert stage() == "deleted" and f'data-run="{run_id}"' not in shown(editor, "/")
    caller.post("runs/restore", {"run_id": run_id})
    assert stage() == "active" and run_id in shown(editor, "/")
    caller.post("runs/delete", {"run_id": run_id})
    history = shown(editor, f"/runs/{run_id}/log/")
    assert history.count("Archived.") == 2 and "Restored from the archive." in history
    change(editor, "restore", run_id)
    assert stage() == "active"


def test_a_deleted_run_does_not_exist_for_its_client_until_the_deletion_is_undone(
    caller: Caller, run_id: str, editor: Client
) -> None:
    point = {"run_id": run_id, "key": "loss", "value": 1.0, "timestamp": 1, "step": 0}
    # The server remembers the run from the first request on.
    assert caller.post("runs/log-metric", point).status_code == 200
    editor.post(f"/runs/{run_id}/end/")
    change(editor, "delete", run_id, confirmed="1")
    assert caller.get("runs/get", run_id=run_id).status_code == 404
    assert caller.post("runs/log-metric", {**point, "step": 1}).status_code == 404
    found = caller.post("runs/search", {"experiment_ids": ["0"], "run_view_type": "ALL"}).json()
    assert found.get("runs", []) == []
    change(editor, "undelete", run_id)
    assert caller.post("runs/log-metric", {**point, "step": 2}).status_code == 200
    assert set(curve(Run.objects.get(), "loss")) == {0, 2}


def test_a_client_that_logs_to_a_deleted_run_gets_a_new_one(
    site: str, token: str, editor: Client
) -> None:
    deleted = log(site, token, 0)
    editor.post(f"/runs/{deleted.public_id}/end/")
    change(editor, "delete", deleted.public_id, confirmed="1")
    entry = {"project": "sums", "run": "first", "run_id": "r1", "config": {}}
    post(site, token, "bulk_log", logs=[{**entry, "metrics": {"loss": 2.0}, "step": 5}])
    created = Run.objects.get(deleted_at=None)
    assert created.pk != deleted.pk and set(curve(created, "loss")) == {5}
    # Both stay whole if the deletion is undone: the key belongs to the new run.
    change(editor, "undelete", deleted.public_id)
    assert set(curve(deleted, "loss")) == {0}
    assert dict(Origin.objects.values_list("run", "key")) == {
        deleted.pk: deleted.public_id,
        created.pk: "r1",
    }


def test_a_run_that_a_client_is_logging_is_ended_before_it_is_deleted(
    site: str, token: str, editor: Client
) -> None:
    run = log(site, token, 0)
    change(editor, "delete", run.public_id, confirmed="1")
    assert "Its client is logging. End this run" in shown(editor, "/")
    assert Run.objects.get().deleted_at is None
