"""Every table is registered with the access rules, or listed here as internal."""

from __future__ import annotations

import pytest
from django.apps import apps
from django.contrib.sessions.models import Session

from webapp.access import permissions, registry
from webapp.access.actors import Actor
from webapp.access.registry import NotRegistered

# No page, API or socket shows rows of these tables as objects of their own: they are read through
# a run, a job or an account that was checked already.
INTERNAL = {
    "teams.User",
    "teams.SignInTry",
    "teams.SignInLink",
    "clients.ImportedFile",
    "clients.Receipt",
    "jobs.Shard",
    "jobs.Copy",
    "metrics.Log",
    "metrics.Batch",
    "metrics.Series",
    "metrics.Axis",
    "metrics.Chunk",
    "metrics.Level",
    "runs.Member",
    "runs.RemovedRun",
}


def labels_of_project_models() -> set[str]:
    return {
        model._meta.label for model in apps.get_models() if model.__module__.startswith("webapp.")
    }


def is_registered(label: str) -> bool:
    try:
        registry.ownership_of(apps.get_model(label))
    except NotRegistered:
        return False
    return True


def test_every_model_is_registered_or_listed_as_internal() -> None:
    assert {label for label in labels_of_project_models() if not is_registered(label)} == INTERNAL


@pytest.mark.parametrize("label", [*sorted(INTERNAL), Session._meta.label])
def test_a_check_of_a_model_that_is_not_registered_raises(label: str) -> None:
    with pytest.raises(NotRegistered, match=label):
        permissions.visible(Actor(), apps.get_model(label))
