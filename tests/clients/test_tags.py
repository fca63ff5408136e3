"""Tags of a run that several requests of MLflow's clients change at once."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import transaction

from tests.clients.conftest import only_run
from tests.clients.test_mlflow import Caller
from tests.webapp.locks import wait_for_lock
from webapp.access.actors import Actor
from webapp.access.models import Role, Team
from webapp.api import mlflow, mlflow_models
from webapp.api.requests import Request

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize(
    ("change", "body", "tags"),
    [
        (mlflow.delete_tag, {"run_id": "", "key": "a"}, {"new"}),
        (mlflow_models.create, {"source_run_id": ""}, {"a", "new", "logged_model.0"}),
    ],
)
def test_tags_that_are_changed_at_the_same_moment_are_all_kept(
    site: str,
    token: str,
    still: Team,
    change: Callable[[Request], Any],
    body: dict[str, str],
    tags: set[str],
) -> None:
    caller = Caller(site, token)
    created = {"experiment_id": "0", "tags": [{"key": "a", "value": "b"}]}
    run_id = str(caller.post("runs/create", created).json()["run"]["info"]["run_id"])
    named = json.dumps({name: value or run_id for name, value in body.items()}).encode()
    with ThreadPoolExecutor() as pool:
        with transaction.atomic():
            change(Request(Actor(roles={still.pk: Role.EDITOR}, team=still), {}, named))
            logged = pool.submit(
                caller.post, "runs/set-tag", {"run_id": run_id, "key": "new", "value": "1"}
            )
            wait_for_lock(logged)
        assert logged.result().status_code == 200
    assert set(only_run().origin.tags) == tags
