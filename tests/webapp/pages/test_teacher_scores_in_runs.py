"""A job scores the solutions of a team's data, and a run learns from the file that it leaves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from tests.trainer.text.short_run import carried_out, column, short
from tests.webapp.pages.test_teacher_scores import SCORING
from trainer.cli import main
from trainer.spec import load, to_dict
from webapp.access.models import Team, User
from webapp.definition.run_checks import validate_references
from webapp.jobs.models import Copy, Job, State
from webapp.library import locations
from workers.attempt.preparation import resolve
from workers.shards import runner
from workers.shards.preparation import prepare

JOB = {
    **SCORING,
    "work.k": "8",
    "model.model": "builtin:teacher",
    "problems.count": "16",
    "sampling.max_new_tokens": "64",
    "compute.block": "8",
}


@pytest.mark.django_db
def test_scores_of_a_job_from_the_form_teach_a_run(
    client: Client, erin: User, still: Team, settings: Any, tmp_path: Path
) -> None:
    settings.STILLROOM_STATE = str(tmp_path / "state")
    client.force_login(erin)
    assert client.post("/jobs/new/", JOB).status_code == 302
    job = Job.objects.get()
    assert job.shards.count() == 2
    for shard in job.shards.all():
        copy = Copy.objects.create(shard=shard, number=1, host="here", device="cpu")
        out = tmp_path / f"{shard.part}.jsonl"
        assert main(prepare(copy, tmp_path / f"part-{shard.part}", out)) == 0
        assert runner.store_result(copy, out)
    job.refresh_from_db()
    assert (job.state, job.reason) == (State.COMPLETED, "")
    assert job.data_set is not None
    uri = locations.uri_of_data(job.data_set)
    definition = short(
        {
            "source": "solutions",
            "objective": {"kind": "forward_kl", "vocabulary": {"kind": "top", "k": 8}},
            "rollouts": {"generate": {"sampling": {"max_new_tokens": 64}}},
        },
        networks={"teacher": {"kind": "scores", "path": uri}},
        data={"train": {"kind": "file", "path": uri, "columns": job.data_set.columns}},
    )
    assert validate_references(definition, still).issues == []
    run = carried_out(load(resolve(to_dict(definition), still)), tmp_path / "run")
    assert len(column(run, "loss")) == 3
