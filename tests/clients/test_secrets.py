"""No secret of a configuration is stored, whatever client or file it comes from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from django.core import serializers
from django.test import Client
from django.urls import reverse

from tests.clients.conftest import only_run
from tests.clients.test_any_request import http, post
from tests.clients.test_imported_restarts import write_mlflow
from tests.shared_cases import case, needs_cases
from webapp.access.models import Team, User
from webapp.clients.importers import import_runs
from webapp.clients.models import Origin, Project
from webapp.runs.models import Event, Run
from webapp.sharing import links

pytestmark = pytest.mark.django_db(transaction=True)
SECRET = "s3cr3t-never-shown"
CONFIG = {"lr": 1e-4, "hub_token": SECRET, "env": {"PGPASSWORD": SECRET}, "max_tokens": 512}
TRACKIO_ENTRY = {"project": "p", "run": "r", "run_id": "r", "metrics": {"loss": 1.0}}
MLFLOW = "/api/2.0/mlflow/"


def pairs(**values: str) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in values.items()]


def stored() -> str:
    """Everything that was stored about runs that clients log."""
    rows = [row for model in (Run, Origin, Project, Event) for row in model.objects.all()]
    return serializers.serialize("json", rows)


def guest_of(run: Run, team: Team, person: User) -> Client:
    guest = Client()
    token = links.share(run, person, links.LIFETIMES["1"])
    guest.get(reverse("shared", args=[token]), follow=True)
    return guest


@needs_cases
def test_a_guest_reads_no_secret_of_the_config_of_the_case(
    site: str, token: str, still: Team, erin: User
) -> None:
    config = json.loads((case("20-secrets-in-config") / "config.json").read_text())
    entry = TRACKIO_ENTRY | {"config": config}
    assert post(site, token, "/api/bulk_log", {"kwargs": {"logs": [entry]}}).status_code == 200
    body = {"experiment_id": "0", "run_name": "m"}
    run_id = post(site, token, f"{MLFLOW}runs/create", body).json()["run"]["info"]["run_id"]
    params = pairs(**{name: str(value) for name, value in config.items()})
    batch = {"run_id": run_id, "params": params}
    assert post(site, token, f"{MLFLOW}runs/log-batch", batch).status_code == 200
    for run in Run.objects.all():
        page = guest_of(run, still, erin).get(f"/runs/{run.public_id}/config/").content.decode()
        assert "hub_token" in page and "0.0001" in page
        for name in ("hub_token", "api_key"):
            assert config[name] not in page and config[name] not in stored()


def test_what_trackio_logs_is_masked(site: str, token: str) -> None:
    entry = TRACKIO_ENTRY | {"config": CONFIG | {"argv": ["x.py", "--api_key", SECRET]}}
    alert = {"project": "p", "run": "r", "run_id": "r", "title": "t", "text": f"token={SECRET}"}
    assert post(site, token, "/api/bulk_log", {"kwargs": {"logs": [entry]}}).status_code == 200
    assert post(site, token, "/api/bulk_alert", {"kwargs": {"alerts": [alert]}}).status_code == 200
    assert SECRET not in stored()
    assert only_run().origin.params == {
        "lr": 1e-4,
        "hub_token": "***",
        "env/PGPASSWORD": "***",
        "max_tokens": 512,
        "argv": ["x.py", "--api_key", "***"],
    }
    asked = {"kwargs": {"project": "p", "run": "r", "run_id": "r"}}
    assert SECRET not in post(site, token, "/api/get_run_summary", asked).text


def test_what_mlflow_logs_is_masked(site: str, token: str) -> None:
    url = f"https://ada:{SECRET}@example.org/data"

    def send(path: str, **body: Any) -> Any:
        answer = post(site, token, MLFLOW + path, body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    experiment = send("experiments/create", name="e", tags=pairs(api_key=SECRET))["experiment_id"]
    send("experiments/set-experiment-tag", experiment_id=experiment, key="note", value=url)
    run = send("runs/create", experiment_id=experiment, tags=pairs(client_secret=SECRET))
    run_id = run["run"]["info"]["run_id"]
    send("runs/log-batch", run_id=run_id, params=pairs(args=f"{{'token': '{SECRET}'}}"))
    # Twice: a parameter keeps its first value, and this one has not changed.
    for _ in range(2):
        send("runs/log-parameter", run_id=run_id, key="hub_token", value=SECRET)
    send("runs/set-tag", run_id=run_id, key="source", value=url)
    dataset = {"name": "d", "source": url}
    send("runs/log-inputs", run_id=run_id, datasets=[{"dataset": dataset, "tags": []}])
    send("logged-models", source_run_id=run_id, name="m", tags=pairs(password=SECRET))
    assert SECRET not in stored()
    read_back = http_get(site, token, f"{MLFLOW}runs/get?run_id={run_id}")
    assert SECRET not in read_back and "https://ada:***@example.org/data" in read_back


def http_get(site: str, token: str, path: str) -> str:
    return http.get(site + path, headers={"Authorization": f"Bearer {token}"}).text


def test_what_is_imported_is_masked(still: Team, tmp_path: Path) -> None:
    write_mlflow(tmp_path)
    for kind, name in (("params", "hub_token"), ("tags", "openai_api_key"), ("params", "lr")):
        folder = tmp_path / "mlruns" / "1" / "abc" / kind
        folder.mkdir(exist_ok=True)
        (folder / name).write_text("0.1" if name == "lr" else SECRET)
    import_runs(tmp_path, "mlflow", still, None, "p")
    assert SECRET not in stored()
    assert only_run().origin.params == {"hub_token": "***", "lr": "0.1"}


def test_a_secret_that_an_earlier_version_stored_is_not_shown_and_can_be_logged_again(
    site: str, token: str, still: Team, erin: User
) -> None:
    run_id = post(site, token, f"{MLFLOW}runs/create", {}).json()["run"]["info"]["run_id"]
    Origin.objects.update(params={"hub_token": SECRET, "lr": "0.1"}, tags={"api_key": SECRET})
    guest = guest_of(only_run(), still, erin)
    page = guest.get(f"/runs/{run_id}/config/").content.decode()
    assert "hub_token" in page and SECRET not in page
    body = {"run_id": run_id, "key": "hub_token", "value": SECRET}
    assert post(site, token, f"{MLFLOW}runs/log-parameter", body).status_code == 200
