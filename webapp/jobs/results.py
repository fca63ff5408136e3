"""The results of a job: the lines of its finished parts, and the sum of their tallies."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from trainer.spec import Columns, FileProblems, PlainContext
from trainer.spec.jobs import CheckpointModel, JobSpec, load_job
from trainer.text.jobs.tallies import Tally
from webapp.jobs import answer_rows, score_rows
from webapp.jobs.models import Job, Shard
from webapp.library import artifacts, bounded_process, data_sets
from webapp.library.models import DataSet

JSON_LINES, PARQUET = "application/jsonl", "application/vnd.apache.parquet"
WRITE_SECONDS = 600.0
# How the file of a teacher's answers is read as problems: the teacher's text is the solution.
ANSWER_COLUMNS = Columns(
    question="question",
    answer="answer",
    solution="response",
    history="history",
    id="id",
    domain="domain",
    difficulty="difficulty",
)
# A file of scores has the scored solutions, so that a run can train on them too.
SCORE_COLUMNS = ANSWER_COLUMNS.model_copy(update={"solution": "solution"})


def tally_of(job: Job) -> Tally:
    """Return the sum of the tallies of the finished parts."""
    tallies = job.shards.values_list("tally", flat=True)
    return sum((Tally.from_json(tally) for tally in tallies if tally is not None), Tally())


def lines(job: Job) -> Iterator[dict[str, Any]]:
    """Yield every problem of the finished parts, in the order of the data set."""
    for sha256 in _result_files(job):
        with artifacts.open(job.team, sha256) as file:
            yield from map(json.loads, file)


def flat(job: Job) -> Iterator[dict[str, Any]]:
    """Yield table rows of the same: a teacher's answers, or pass rates with their counts."""
    rows = lines(job)
    return map(answer_rows.answer, rows) if job.kind == "teacher_answers" else map(_rate, rows)


def store_data_set(job: Job) -> DataSet | None:
    """Store a teacher's answers or scores as a data set of the team, named after the job.

    None for jobs of other kinds. Repeating it changes nothing. Raises ProblemError.
    """
    match job.kind:
        case "teacher_answers":
            return _store(job, "answers", "jsonl", ANSWER_COLUMNS, write_answers)
        case "teacher_scores":
            return _store(job, "scores", "parquet", SCORE_COLUMNS, write_scores)
    return None


def write_answers(job: Job, path: Path) -> None:
    """Write a teacher's answers as JSON lines.

    An untrusted teacher may have written them, so that they are read as an upload is.
    """
    bounded_process.run(answer_rows.write, _result_paths(job), path, seconds=WRITE_SECONDS)


def write_scores(job: Job, path: Path) -> None:
    """Write a teacher's scores as Parquet (`score_files`). Raises ProblemError if there is none."""
    spec: JobSpec = load_job(job.spec)
    model = spec.model
    name, context = (
        (model.checkpoint, PlainContext())
        if isinstance(model, CheckpointModel)
        else (model.model, model.context)
    )
    bounded_process.run(
        score_rows.write,
        _result_paths(job),
        path,
        name,
        context.model_dump(mode="json"),
        spec.prompt,
        seconds=WRITE_SECONDS,
    )


def _store(
    job: Job, noun: str, format: Any, columns: Columns, write: Callable[[Job, Path], None]
) -> DataSet:
    spec: JobSpec = load_job(job.spec)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{noun}.{format}"
        write(job, path)
        artifact = artifacts.put(path, job.team, data_sets.MEDIA_TYPES[format])
    # The path only has to be valid; the file is read from the artifact store.
    source = FileProblems(path=f"file:{path}", format=format, columns=columns)
    mapping = data_sets.Mapping(source, spec.verifier, ())
    name = f"{job.name} {noun} {job.public_id}"[-80:]
    filename = f"{job.public_id}.{format}"
    return data_sets.create(job.team, job.owner, name, artifact, filename, mapping)


def _result_paths(job: Job) -> list[Path]:
    return [artifacts.path(job.team, sha256) for sha256 in _result_files(job)]


def _result_files(job: Job) -> list[str]:
    """Return the SHA-256 of the results of the finished parts, in the order of the data set."""
    finished = job.shards.exclude(result=None).order_by("part")
    return list(finished.values_list("result__sha256", flat=True))


def _rate(row: dict[str, Any]) -> dict[str, Any]:
    # A verdict is None where the verifier could not tell; it counts neither as right nor as wrong.
    verdicts = [answer["verdict"] for answer in row["answers"] if answer["verdict"] is not None]
    tokens = [answer["tokens"] for answer in row["answers"]]
    return {
        **{name: row[name] for name in ("id", "question", "reference", "domain", "difficulty")},
        "passed": sum(verdicts),
        "verdicts": len(verdicts),
        "pass_rate": sum(verdicts) / len(verdicts) if verdicts else None,
        "truncated": sum(answer["truncated"] for answer in row["answers"]),
        "mean_tokens": sum(tokens) / max(1, len(tokens)),
    }


def referenced_artifacts(team_id: int) -> set[str]:
    """Return the SHA-256 of every result of the team's jobs."""
    finished = Shard.objects.filter(job__team=team_id).exclude(result=None)
    return set(finished.values_list("result__sha256", flat=True))
