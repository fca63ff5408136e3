"""Held-out sets: made from a data set, or marked; no run is trained on one."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from tests.webapp.conftest import SPEC
from tests.webapp.library.saving import save
from tests.webapp.library.test_data_sets import COLUMNS, upload
from tests.webapp.pages.test_new_run import as_
from trainer.spec import load
from webapp.access.models import User
from webapp.definition.run_checks import held_out_refusal, validate_references
from webapp.experiments.models import Experiment
from webapp.library import data_readings, locations
from webapp.library.models import Artifact, DataReading, DataSet
from webapp.runs import lifecycle
from webapp.runs.models import Run, State

pytestmark = pytest.mark.django_db
TEN = b"".join(b'{"q": "%d + 1?", "a": "%d"}\n' % (n, n + 1) for n in range(10))
FORM = {"questions": "3", "seed": "0", "name": "sums-test", "training": "sums-train"}


@pytest.fixture
def sums(alice: User) -> DataSet:
    upload(as_(alice), TEN)
    sha256 = Artifact.objects.latest("stored_at").sha256
    save(as_(alice), {"file": sha256, "filename": "sums.jsonl", "name": "sums"} | COLUMNS)
    return DataSet.objects.get()


def hold_out(client: Client, data: DataSet, **changes: str) -> Any:
    return client.post(f"/data/{data.pk}/hold-out/", FORM | changes)


def page(client: Client, data: DataSet) -> str:
    return client.get(f"/data/{data.pk}/").content.decode()


def test_a_data_set_is_divided_into_a_held_out_and_a_training_set(
    alice: User, sums: DataSet
) -> None:
    client = as_(alice)
    answer = hold_out(client, sums)
    reading = DataReading.objects.get(ended_at=None)
    assert answer["Location"] == f"/data/readings/{reading.pk}/"
    assert "sums-train" in client.get(f"/data/readings/{reading.pk}/").content.decode()
    data_readings.execute(reading)
    test, train = (DataSet.objects.get(name=name) for name in ("sums-test", "sums-train"))
    assert (test.problem_count, train.problem_count) == (3, 7)
    assert (test.is_held_out, train.is_held_out) == (True, False)
    assert test.verifier == sums.verifier
    assert client.get(f"/data/readings/{reading.pk}/")["Location"] == f"/data/{test.pk}/"
    assert "held-out set" in page(client, test) and "Hold out problems" not in page(client, test)
    assert "sums-test</a> (3 problems, held out)" in page(client, sums)
    # Each names the other.
    assert "sums-train</a> (7 problems)" in page(client, test)
    assert "sums-test</a> (3 problems)" in page(client, train)
    refusal = hold_out(client, sums)
    assert refusal.status_code == 422
    assert "already has “sums-test” (3 problems" in refusal.content.decode()
    # The same once more changes nothing.
    hold_out(client, sums, same_name="yes")
    data_readings.execute(DataReading.objects.get(ended_at=None))
    assert DataSet.objects.count() == 3


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"questions": "10"}, "leave at least 1 to train on"),
        ({"questions": "0"}, "Hold out at least 1"),
        ({"questions": "many"}, "The number of problems must be a whole number"),
        ({"seed": "-1"}, "The seed must be a whole number"),
        ({"seed": "9" * 12}, "from 0 to 2,147,483,647"),
        ({"name": "  "}, "Give the data set a name"),
        ({"training": "sums test"}, "different names"),
    ],
)
def test_what_cannot_be_held_out_is_refused_beside_the_form(
    alice: User, sums: DataSet, changes: dict[str, str], sentence: str
) -> None:
    answer = hold_out(as_(alice), sums, **changes)
    assert answer.status_code == 422
    text = answer.content.decode()
    assert sentence in text
    # What was typed is still there.
    assert f'value="{(FORM | changes)["training"]}"' in text
    assert not DataReading.objects.filter(ended_at=None).exists()


def test_questions_that_repeat_leave_none_and_the_page_of_the_data_says_so(alice: User) -> None:
    client = as_(alice)
    upload(client, b'{"q": "1?", "a": "1"}\n{"q": "1 ?", "a": "2"}\n')
    sha256 = Artifact.objects.latest("stored_at").sha256
    save(client, {"file": sha256, "filename": "sums.jsonl", "name": "sums"} | COLUMNS)
    data = DataSet.objects.get()
    hold_out(client, data, questions="1")
    reading = DataReading.objects.get(ended_at=None)
    data_readings.execute(reading)
    answer = client.get(f"/data/readings/{reading.pk}/", follow=True)
    assert "sums.jsonl has 1 different question, so" in answer.content.decode()
    assert DataSet.objects.count() == 1


def test_a_held_out_set_is_not_trained_on(alice: User, sums: DataSet) -> None:
    client = as_(alice)
    client.post(f"/data/{sums.pk}/held-out/", {"held_out": "yes"})
    assert "no run is trained on it" in page(client, sums)
    form = client.get(f"/runs/new/?data={sums.pk}").content.decode()
    assert "held-out set of the team, which no run is trained on" in form
    assert locations.data_of(sums.team)[-1] == sums
    client.post(f"/data/{sums.pk}/held-out/", {"held_out": "no"})
    form = client.get(f"/runs/new/?data={sums.pk}").content.decode()
    assert "which no run is trained on" not in form


def test_a_run_on_a_set_that_was_held_out_since_is_not_carried_out_again(
    alice: User, sums: DataSet
) -> None:
    client = as_(alice)
    train = {"kind": "file", "path": locations.uri_of_data(sums), "columns": sums.columns}
    spec = {**SPEC, "data": {"train": train}}
    run = lifecycle.create_run(sums.team, alice, spec, state=State.FAILED)
    experiment = Experiment.objects.create(
        team=sums.team, name="e", spec=spec, arms=[{"name": "a", "changes": {}}], seeds=[0]
    )
    cell = experiment.runs.create(arm=0, seed=0, run=run)
    client.post(f"/data/{sums.pk}/held-out/", {"held_out": "yes"})
    for address in (
        f"/runs/{run.public_id}/clone/",
        f"/experiments/{experiment.public_id}/repeat/",
    ):
        answer = client.post(address, {"cell": cell.pk}, follow=True).content.decode()
        assert "The training set is a held-out set of the team" in answer
    assert Run.objects.count() == 1
    client.post(f"/data/{sums.pk}/held-out/", {"held_out": "no"})
    client.post(f"/experiments/{experiment.public_id}/repeat/", {"cell": cell.pk})
    assert Run.objects.count() == 2


def test_a_cohort_may_be_a_held_out_set_because_its_references_are_hidden(
    alice: User, sums: DataSet
) -> None:
    as_(alice).post(f"/data/{sums.pk}/held-out/", {"held_out": "yes"})
    train = {"kind": "file", "path": locations.uri_of_data(sums), "columns": sums.columns}
    vote = {
        "name": "vote",
        "objective": {"kind": "grpo"},
        "rollouts": {"filter": {"kind": "vote"}, "generate": {"per_problem": 4}},
    }
    pool = {"estimate": "never", "weighting": {"kind": "uniform"}, "track_problems": 0}
    settings = {"stages": [vote], "pool": pool}
    cohort = load({**settings, "data": {"train": train, "evaluation": {"kind": "cohort"}}})
    split = load({**settings, "data": {"train": train}})
    refusals = [held_out_refusal(spec, sums.team) for spec in (cohort, split)]
    assert refusals[0] == "" and "held-out set of the team" in refusals[1]
    assert "data.train.path" not in {
        issue.path for issue in validate_references(cohort, sums.team).issues
    }
