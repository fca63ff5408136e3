"""A run learns from a file of scores what it learns from the network that was scored."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet as parquet
import pytest

from tests.trainer.text.jobs.test_execution import done, rows
from tests.trainer.text.jobs.test_teacher_scores import scores_job
from tests.trainer.text.short_run import PLAIN, carried_out, column, short
from tests.trainer.text.tiny_run import end, start
from trainer.spec import RunSpec
from webapp.jobs import score_rows

K = 8
FORWARD = {"kind": "forward_kl", "vocabulary": {"kind": "top", "k": 6}}
LOCAL = {"kind": "model", "model": "builtin:teacher"}


def scored(folder: Path, **changes: Any) -> Path:
    """Return the file of scores of the training problems, from a job in two parts."""
    folder.mkdir(exist_ok=True)
    work = {"kind": "teacher_scores", "k": K}
    spec = scores_job(folder, **{"work": work, "problems": PLAIN, **changes})
    parts = [folder / f"part-{number}.jsonl" for number in range(2)]
    for number, part in enumerate(parts):
        part.write_bytes(done(spec, number, 2))
    score_rows.write(parts, folder / "scores.parquet", "the teacher", {"kind": "plain"}, "")
    return folder / "scores.parquet"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scored(tmp_path_factory.mktemp("job"))


def taught(teacher: dict[str, Any], objective: dict[str, Any] = FORWARD, **changes: Any) -> RunSpec:
    stage = {"source": "solutions", "objective": objective, "problems_per_step": 4}
    return short(stage, networks={"teacher": teacher}, **{"data": {"train": PLAIN}, **changes})


def from_file(file: Path) -> dict[str, Any]:
    return {"kind": "scores", "path": f"file:{file}"}


@pytest.mark.parametrize("kind", ["forward_kl", "reverse_kl", "jsd"])
def test_the_loss_curve_is_that_of_the_network_here(file: Path, tmp_path: Path, kind: str) -> None:
    objective = {**FORWARD, "kind": kind}
    here = carried_out(taught(LOCAL, objective), tmp_path / "here")
    there = carried_out(taught(from_file(file), objective), tmp_path / "there")
    losses = column(there, "loss")
    assert len(losses) == 3 and losses[0] != losses[1]
    # The tail of the top tokens is 1 minus their probabilities, known to float32's resolution of 1.
    assert losses == pytest.approx(column(here, "loss"), rel=1e-3, abs=1e-6)
    assert column(there, "grad_norm") == pytest.approx(column(here, "grad_norm"), rel=1e-2)


def test_what_follows_a_token_changes_none_of_its_scores(file: Path, tmp_path: Path) -> None:
    """The file has whole solutions, of which the run trains on the first 24 tokens."""
    cut = scored(tmp_path / "cut", sampling={"max_new_tokens": 24})
    tables = [parquet.read_table(path).column("ids").to_pylist() for path in (file, cut)]
    assert any(len(whole) > len(part) for whole, part in zip(*tables, strict=True))
    losses = [
        column(carried_out(taught(from_file(path)), tmp_path / name), "loss")
        for path, name in ((file, "of whole"), (cut, "of cut"))
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def refused(definition: RunSpec, folder: Path) -> str:
    assert start(definition, folder) != 0
    return str(end(folder)["reason"])


def test_problems_without_scores_are_counted_and_named(file: Path, tmp_path: Path) -> None:
    more = {**PLAIN, "count": 18}
    reason = refused(taught(from_file(file), data={"train": more}), tmp_path / "run")
    assert "has no scores of " in reason and "training problems, the first of which is" in reason


def test_scores_of_shorter_answers_are_refused(tmp_path: Path) -> None:
    short_file = scored(tmp_path / "short", sampling={"max_new_tokens": 3})
    reason = refused(taught(from_file(short_file)), tmp_path / "run")
    assert "scores of other answers, or of shorter parts of them" in reason


def test_a_larger_k_than_that_of_the_file_is_refused(file: Path, tmp_path: Path) -> None:
    objective = {**FORWARD, "vocabulary": {"kind": "top", "k": K + 1}}
    reason = refused(taught(from_file(file), objective), tmp_path / "run")
    assert (
        f"stages.0.objective.vocabulary.k is {K + 1}" in reason and f"the {K} likeliest" in reason
    )


def test_another_tokenizer_is_refused(file: Path, tmp_path: Path) -> None:
    table = parquet.read_table(file)
    key = b"stillroom.teacher_scores"
    source = json.loads(table.schema.metadata[key]) | {"tokenizer": "another"}
    other = tmp_path / "other.parquet"
    parquet.write_table(table.replace_schema_metadata({key: json.dumps(source)}), other)
    assert "whose tokenizer is not that of the student" in refused(
        taught(from_file(other)), tmp_path / "run"
    )


def changed(file: Path, folder: Path, values: Callable[[list[float]], list[float]]) -> Path:
    """A copy of the file with other log-probs of written tokens."""
    table = parquet.read_table(file)
    place = table.schema.get_field_index("logprobs")
    column = [values(row) for row in table.column(place).to_pylist()]
    field = table.schema.field(place)
    other = folder / "changed.parquet"
    parquet.write_table(table.set_column(place, field, pyarrow.array(column, field.type)), other)
    return other


@pytest.mark.parametrize(
    "values", [lambda row: row[1:], lambda row: [math.nan, *row[1:]]], ids=["too few", "NaN"]
)
def test_scores_that_are_not_those_of_each_token_are_refused(
    file: Path, tmp_path: Path, values: Callable[[list[float]], list[float]]
) -> None:
    reason = refused(taught(from_file(changed(file, tmp_path, values))), tmp_path / "run")
    assert "has no complete scores of each token in row " in reason


def test_a_file_without_a_column_of_scores_is_none(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.parquet"
    parquet.write_table(parquet.read_table(file).drop_columns(["tail"]), other)
    assert "is no file of teacher scores" in refused(taught(from_file(other)), tmp_path / "run")


def test_every_line_of_a_job_has_a_row(file: Path) -> None:
    lines = rows((file.parent / "part-0.jsonl").read_bytes())
    assert parquet.read_table(file).column("id").to_pylist()[: len(lines)] == [
        line["id"] for line in lines
    ]
