"""The pages of jobs: what the form starts, what it refuses, what a job shows and gives away, and
how a definition survives the form.
"""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet
import pytest
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from tests.webapp import recorded
from tests.webapp.streams import content_of
from trainer.spec.jobs import JobSpec, load_job
from trainer.text.jobs.tallies import tally
from webapp.access.models import Team, User
from webapp.definition import job_form
from webapp.jobs import lifecycle
from webapp.jobs.models import Copy, Job, State
from webapp.library import artifacts, locations
from webapp.library.models import DataSet
from webapp.runs import lifecycle as runs

FILLED = {
    "name": "mine",
    "work.kind": "evaluation",
    "work.samples": "2",
    "work.pass_at": "1, 2",
    "model.kind": "model",
    "model.model": "builtin:student",
    "problems.kind": "arithmetic",
    "problems.count": "200",
    "compute.block": "64",
}


@pytest.fixture
def client_of_erin(client: Client, erin: User) -> Client:
    client.force_login(erin)
    return client


def line(number: int, verdicts: list[bool | None]) -> dict[str, Any]:
    answers = [
        {"verdict": verdict, "truncated": False, "tokens": 9, "read": "2", "text": "1+1=2"}
        for verdict in verdicts
    ]
    names = {
        "id": f"p{number}",
        "question": f"{number}+1?",
        "reference": "2",
        "domain": "add",
        "difficulty": "",
    }
    return {"place": number, **names, "answers": answers}


def answered(job: Job, *results: list[dict[str, Any]]) -> None:
    """Let the first parts of a job be answered with these lines."""
    for shard, rows in zip(job.shards.order_by("part"), results, strict=False):
        copy = Copy.objects.create(shard=shard, number=1, host="gpu-3", device="cuda 0")
        artifact = artifacts.put(
            io.BytesIO("".join(json.dumps(row) + "\n" for row in rows).encode()), job.team
        )
        assert lifecycle.complete(copy, artifact, tally(rows).to_json())


@pytest.mark.django_db
def test_the_form_starts_a_job_cut_into_parts(client_of_erin: Client, still: Team) -> None:
    response = client_of_erin.post("/jobs/new/", FILLED)
    job = Job.objects.get()
    assert response["Location"] == f"/jobs/{job.public_id}/"
    assert (job.team, job.name, job.kind, job.state) == (still, "mine", "evaluation", State.RUNNING)
    assert job.shards.count() == 4
    page = client_of_erin.get(response["Location"]).content.decode()
    assert "waiting for a free device" in page and "0 of 200 problems" in page


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"work.pass_at": "1, 4"}, "Asks for pass@4 of 2 answers"),
        ({"work.samples": "many"}, "Must be a whole number, got “many”."),
        ({"model.model": "model:other@abc"}, "Names a model that the team does not have"),
        (
            {"problems.kind": "file", "problems.path": "dataset:x@y"},
            "Names a data set that the team does not have",
        ),
        (
            {"model.kind": "checkpoint", "model.checkpoint": "checkpoint:nobody@3"},
            "Names a checkpoint that the team does not have",
        ),
        (
            {"model.kind": "checkpoint", "model.checkpoint": "file:/etc/passwd"},
            "Names a checkpoint that the team does not have",
        ),
        (
            {
                "model.kind": "endpoint",
                "model.url": "http://10.0.0.1/v1",
                "work.samples": "1",
                "work.pass_at": "1",
            },
            "Is no endpoint",
        ),
        ({"sampling.temperature": "nan"}, "number"),
        (
            {"work.kind": "nonsense"},
            "must be one of pass_rates, teacher_answers, evaluation, teacher_scores",
        ),
        ({"name": "\0"}, "NUL"),
        ({"name": "   "}, "Is blank"),
        (
            {"sampling.max_new_tokens": "256"},
            "Is 256, but the model reads at most 256 tokens, question included",
        ),
    ],
)
def test_what_cannot_start_is_said_beside_its_field(
    client_of_erin: Client, changes: dict[str, str], sentence: str
) -> None:
    response = client_of_erin.post("/jobs/new/", FILLED | changes)
    assert response.status_code == 422
    assert sentence in response.content.decode()
    assert not Job.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        (["model.safetensors"], "has no tokenizer; copy the model"),
        (["pytorch_model.bin", "tokenizer.json"], "has pickled weights only"),
        (["tokenizer.json"], "has no *.safetensors weights"),
    ],
)
def test_a_model_that_cannot_write_is_refused_beside_its_field(
    client_of_erin: Client, settings: Any, tmp_path: Path, files: list[str], sentence: str
) -> None:
    settings.STILLROOM_FILE_ROOTS = (tmp_path,)
    builtin = locations.builtin_folder("student")
    shutil.copy(builtin["config.json"], tmp_path)
    for name in files:
        content = builtin["model.safetensors"] if name.endswith("bin") else builtin[name]
        shutil.copy(content, tmp_path / name)
    model = {"model.model": f"file:{tmp_path}"}
    response = client_of_erin.post("/jobs/new/", FILLED | model)
    assert response.status_code == 422
    issue = next(issue for issue in response.context["layout"].issues)
    assert (issue.label, issue.message.startswith(sentence)) == ("Model", True), issue.message
    assert not Job.objects.exists()


@pytest.mark.django_db
def test_the_form_is_checked_while_it_is_filled_in(client_of_erin: Client) -> None:
    panel = client_of_erin.post("/jobs/new/check/", FILLED).content.decode()
    assert "Ready to start" in panel and "2 per problem, 400 in all" in panel
    assert "at most 25,600" in panel and "name: mine" in panel
    wrong = FILLED | {"work.samples": "0", "sampling.max_new_tokens": "9999"}
    panel = client_of_erin.post("/jobs/new/check/", wrong).content.decode()
    assert "1 problem found" in panel and "Shown when all problems are fixed." in panel
    assert not Job.objects.exists()


@pytest.mark.django_db
def test_a_data_set_brings_its_columns_and_its_verifier(
    client_of_erin: Client, still: Team, tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_text("q,a\n1+1?,2\n")
    data = DataSet.objects.create(
        team=still,
        name="sums",
        artifact=artifacts.put(tmp_path / "a.csv", still),
        fingerprint="f" * 64,
        filename="a.csv",
        format="csv",
        problem_count=1,
        columns={"question": "q", "answer": "a"},
        verifier={"kind": "exact", "after": "=", "ignore_case": True},
    )
    page = client_of_erin.get(f"/jobs/new/?kind=teacher_answers&data={data.pk}")
    fields = {
        field.name: field
        for group in page.context["layout"].groups
        for field in group.fields
        if field.applies
    }
    assert fields["problems.path"].value == f"dataset:sums@{'f' * 64}"
    assert (fields["problems.columns.question"].value, fields["verifier.after"].value) == ("q", "=")
    assert fields["model.model"].value == "builtin:teacher"
    assert client_of_erin.get("/jobs/new/?data=999").status_code == 404
    assert client_of_erin.get("/jobs/new/?kind=other").status_code == 404


@pytest.mark.django_db
def test_a_checkpoint_is_evaluated_on_what_its_run_measures(
    client_of_erin: Client, still: Team, alice: User, tmp_path: Path
) -> None:
    run = recorded.recorded(still, alice, tmp_path / "run")
    page = client_of_erin.get(f"/runs/{run.public_id}/checkpoints/").content.decode()
    address = f"/jobs/new/?kind=evaluation&amp;run={run.public_id}&amp;step=30"
    assert address in page
    form_page = client_of_erin.get(address.replace("&amp;", "&"))
    fields = {
        field.name: field
        for group in form_page.context["layout"].groups
        for field in group.fields
        if field.applies
    }
    assert fields["model.checkpoint"].value == f"checkpoint:{run.public_id}@30"
    assert (fields["problems.count"].value, fields["held_out_share"].value) == ("24", "0.1")
    form_values = {name: field.value for name, field in fields.items()} | {"work.pass_at": "1, 4"}
    assert client_of_erin.post("/jobs/new/", form_values).status_code == 302


@pytest.mark.django_db
@pytest.mark.parametrize("share", [None, 0.25])
def test_a_checkpoint_is_evaluated_on_the_share_that_its_run_held_out(
    client_of_erin: Client, still: Team, alice: User, share: float | None
) -> None:
    train = {"kind": "arithmetic", "count": 300, "seed": 7}
    evaluation = {"evaluation": {"kind": "split", "share": share}} if share else {}
    spec = {**recorded.SPEC, "data": {"train": train, **evaluation}}
    run = runs.create_run(still, alice, spec)
    page = client_of_erin.get(f"/jobs/new/?kind=evaluation&run={run.public_id}&step=30")
    shown = {
        field.name: field.value
        for group in page.context["layout"].groups
        for field in group.fields
        if field.applies
    }
    assert (shown["problems.count"], shown["problems.seed"]) == ("300", "7")
    assert shown["held_out_share"] == str(share or 0.1)


def test_a_result_grows_with_its_parts_and_is_given_away_whole(
    client_of_erin: Client, still: Team
) -> None:
    spec = load_job(
        {
            "work": {"kind": "pass_rates", "samples": 2},
            "problems": {"kind": "arithmetic", "count": 4},
            "compute": {"block": 2},
        }
    )
    job = lifecycle.create_job(still, None, spec, 4, 1)
    answered(job, [line(0, [True, True]), line(1, [True, False])])
    page = client_of_erin.get(f"/jobs/{job.public_id}/").content.decode()
    assert "75.0 %" in page and "2 of 4 problems" in page and f'data-job="{job.public_id}"' in page
    table = list(
        csv.DictReader(
            io.StringIO(
                content_of(client_of_erin.get(f"/jobs/{job.public_id}/results.csv")).decode()
            )
        )
    )
    assert [(row["id"], row["passed"], row["pass_rate"]) for row in table] == [
        ("p0", "2", "1.0"),
        ("p1", "1", "0.5"),
    ]
    rows = parquet.read_table(
        io.BytesIO(client_of_erin.get(f"/jobs/{job.public_id}/results.parquet").getvalue())
    ).to_pylist()
    assert [(row["question"], row["verdicts"]) for row in rows] == [("0+1?", 2), ("1+1?", 2)]
    lines = content_of(client_of_erin.get(f"/jobs/{job.public_id}/results.jsonl")).splitlines()
    assert [json.loads(row)["place"] for row in lines] == [0, 1]


@pytest.mark.django_db
def test_a_job_is_stopped_then_deleted(client_of_erin: Client, still: Team) -> None:
    job = lifecycle.create_job(still, None, JobSpec(), 400, 1)
    assert (
        "Stop this job"
        in client_of_erin.post(f"/jobs/{job.public_id}/delete/", follow=True).content.decode()
    )
    client_of_erin.post(f"/jobs/{job.public_id}/stop/")
    page = client_of_erin.get(f"/jobs/{job.public_id}/").content.decode()
    assert "Stopped on request." in page and "data-job=" not in page
    assert (
        "was deleted"
        in client_of_erin.post(f"/jobs/{job.public_id}/delete/", follow=True).content.decode()
    )
    assert not Job.objects.exists()


SPECS = st.fixed_dictionaries(
    {
        "work": st.one_of(
            st.builds(lambda k: {"kind": "pass_rates", "samples": k}, st.integers(1, 64)),
            st.just({"kind": "teacher_answers"}),
            st.just({"kind": "evaluation", "samples": 3, "pass_at": [1, 3]}),
        ),
        "model": st.sampled_from(
            [
                {
                    "kind": "model",
                    "model": "hub:a/b@c",
                    "context": {"kind": "privileged", "shows": "answer"},
                },
                {"kind": "checkpoint", "checkpoint": "checkpoint:abc@4"},
            ]
        ),
        "problems": st.sampled_from(
            [
                {"kind": "arithmetic", "count": 7},
                {"kind": "file", "path": "file:/a/b.csv", "limit": 3},
            ]
        ),
        "confidence": st.sampled_from([{"kind": "none"}, {"kind": "stated", "decimals": 1}]),
        "seed": st.integers(0, 9),
    }
)


@given(SPECS)
def test_a_definition_survives_the_form(data: dict[str, Any]) -> None:
    spec = load_job(data)
    assert load_job(job_form.spec_from(job_form.form_from(spec.model_dump(mode="json")))) == spec
