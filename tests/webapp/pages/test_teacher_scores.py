"""Jobs that score solutions: the page, the file, and the data set that a run reads."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from django.test import Client

from tests.webapp.pages.test_jobs import FILLED, answered, client_of_erin, line
from trainer.text.problems import Problem, ProblemError
from trainer.text.teachers.score_files import AnswerScores, ScoreFile, question_key
from webapp.access.models import Team
from webapp.jobs import results
from webapp.jobs.models import Job
from webapp.library import artifacts
from workers.shards import placement

__all__ = ["client_of_erin"]
SCORING = {
    **{name: value for name, value in FILLED.items() if not name.startswith("work.")},
    "work.kind": "teacher_scores",
    "work.k": "2",
    "problems.count": "128",
}


def scores(number: int) -> AnswerScores:
    """Scores of an answer of two tokens with two likeliest tokens each."""
    logprobs = np.log(np.array([[0.5, 0.25], [0.75, 0.125]], np.float32))
    return AnswerScores(
        np.array([number, 7], np.int32),
        logprobs[:, 0].copy(),
        np.array([[number, 3], [7, 4]], np.int32),
        logprobs,
        np.array([0.25, 0.125], np.float32),
    )


def scored_line(number: int, tokenizer: str = "abc") -> dict[str, Any]:
    row = line(number, [None])
    row["answers"][0] |= {"tokenizer": tokenizer, "scores": scores(number).to_json()}
    return row


def scoring_job(client: Client, *parts: list[dict[str, Any]]) -> Job:
    client.post("/jobs/new/", SCORING)
    job = Job.objects.get()
    answered(job, *parts)
    return job


@pytest.mark.django_db
def test_the_form_starts_a_job_and_its_page_counts_the_scored_tokens(
    client_of_erin: Client, still: Team
) -> None:
    job = scoring_job(client_of_erin, [scored_line(1), scored_line(2)])
    assert job.kind == "teacher_scores" and job.shards.count() == 2
    page = client_of_erin.get(f"/jobs/{job.public_id}/").content.decode()
    assert "18</b> tokens of 2 solutions have scores" in page
    assert "of the answers pass" not in page and "results.csv" not in page


@pytest.mark.django_db
def test_the_file_has_every_score_and_says_what_they_are_of(
    client_of_erin: Client, still: Team, tmp_path: Path
) -> None:
    job = scoring_job(client_of_erin, [scored_line(1)], [scored_line(2)])
    response = client_of_erin.get(f"/jobs/{job.public_id}/results.parquet")
    (tmp_path / "scores.parquet").write_bytes(response.getvalue())
    file = ScoreFile(tmp_path / "scores.parquet", "scores")
    assert file.source.model == "builtin:student" and file.source.tokenizer == "abc"
    assert (file.source.k, file.source.context) == (2, {"kind": "plain"})
    for number in (1, 2):
        key = question_key(Problem("x", f" {number}+1? ", "2"))
        ((ids, place),) = file.answers[key]
        assert ids == (number, 7)
        stored, expected = file.scores(place), scores(number)
        for name in ("ids", "logprobs", "top_ids", "top_logprobs", "tail"):
            np.testing.assert_array_equal(getattr(stored, name), getattr(expected, name))


@pytest.mark.django_db
def test_a_finished_job_leaves_its_scores_as_a_data_set(
    client_of_erin: Client, still: Team
) -> None:
    job = scoring_job(client_of_erin, [scored_line(1)], [scored_line(2)])
    assert placement.complete_job(job.pk)
    job.refresh_from_db()
    assert job.reason == "" and job.data_set is not None
    assert job.data_set.columns["solution"] == "solution"
    table = parquet.read_table(
        io.BytesIO(artifacts.path(still, job.data_set.artifact.sha256).read_bytes())
    )
    assert table.column("solution").to_pylist() == ["1+1=2", "1+1=2"]
    page = client_of_erin.get(f"/jobs/{job.public_id}/").content.decode()
    assert "choose it as a run" in page
    assert client_of_erin.get(f"/data/{job.data_set.pk}/").status_code == 200


@pytest.mark.django_db
def test_parts_of_different_tokenizers_are_no_file(client_of_erin: Client, still: Team) -> None:
    job = scoring_job(client_of_erin, [scored_line(1)], [scored_line(2, "other")])
    with pytest.raises(ProblemError, match="different tokenizers; name the revision"):
        results.store_data_set(job)
    assert client_of_erin.get(f"/jobs/{job.public_id}/results.parquet").status_code == 404
    assert placement.complete_job(job.pk)
    job.refresh_from_db()
    assert "different tokenizers" in job.reason and job.data_set is None


def test_another_parquet_file_is_no_file_of_scores(tmp_path: Path) -> None:
    parquet.write_table(pa.table({"question": ["1+1?"]}), tmp_path / "a.parquet")
    (tmp_path / "b.parquet").write_text(json.dumps({"question": "1+1?"}))
    for name in ("a", "b"):
        with pytest.raises(ProblemError, match="is no file of teacher scores"):
            ScoreFile(tmp_path / f"{name}.parquet", name)


@pytest.mark.django_db
def test_a_server_that_the_operator_does_not_list_is_refused(
    client_of_erin: Client, still: Team
) -> None:
    served = {
        "model.kind": "served",
        "model.urls": "http://10.0.0.5:8000",
        "model.model": "large",
        "model.tokenizer": "builtin:teacher",
    }
    response = client_of_erin.post("/jobs/new/", SCORING | served)
    assert response.status_code == 422
    assert "Is no endpoint" in response.content.decode()
    assert not Job.objects.exists()
