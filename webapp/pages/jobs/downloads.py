"""A job's results so far as files: a table of problems (CSV, Parquet) or all lines as written."""

from __future__ import annotations

import itertools
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as parquet
from django.conf import settings
from django.http import FileResponse, Http404, HttpRequest, HttpResponseBase, StreamingHttpResponse
from django.views.decorators.http import require_safe

from trainer.text.problems import ProblemError
from webapp.access import actors, permissions
from webapp.base import csv_text
from webapp.base.view_marks import slow
from webapp.jobs import results
from webapp.jobs.models import Job
from webapp.pages.attachments import attachment

# Rows that are in memory at a time: a job may have any number of them.
ROWS_AT_ONCE = 1000
TEXT, COUNT, NUMBER, TRUTH = pa.string(), pa.int64(), pa.float64(), pa.bool_()
GROUPS = {"domain": TEXT, "difficulty": TEXT}
ANSWERS = {
    "id": TEXT,
    "question": TEXT,
    "response": TEXT,
    "answer": TEXT,
    "right": TRUTH,
    "truncated": TRUTH,
    "tokens": COUNT,
    **GROUPS,
    "history": TEXT,
}
COUNTS = {
    "passed": COUNT,
    "verdicts": COUNT,
    "pass_rate": NUMBER,
    "truncated": COUNT,
    "mean_tokens": NUMBER,
}
RATES = {"id": TEXT, "question": TEXT, "reference": TEXT, **GROUPS, **COUNTS}

Row = dict[str, Any]


@require_safe
def csv_file(request: HttpRequest, job_id: str) -> StreamingHttpResponse:
    job = _find(request, job_id)
    return attachment(_csv_text(job), f"{job.public_id}.csv", "text/csv; charset=utf-8")


@require_safe
def json_lines(request: HttpRequest, job_id: str) -> StreamingHttpResponse:
    job = _find(request, job_id)
    text = (
        "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in block)
        for block in _blocks(results.lines(job))
    )
    return attachment(text, f"{job.public_id}.jsonl", results.JSON_LINES)


@slow
@require_safe
def parquet_file(request: HttpRequest, job_id: str) -> HttpResponseBase:
    job = _find(request, job_id)
    with tempfile.NamedTemporaryFile(dir=settings.FILE_UPLOAD_TEMP_DIR) as file:
        if job.kind == "teacher_scores":
            try:
                results.write_scores(job, Path(file.name))
            except ProblemError as error:
                raise Http404(str(error)) from error
        else:
            _write_table(job, file)
        file.flush()
        # The file loses its name at the end of this block. The second descriptor keeps its content
        # until the response is sent and closes it.
        download = os.fdopen(os.dup(file.fileno()), "rb")
    download.seek(0)
    return FileResponse(
        download,
        as_attachment=True,
        filename=f"{job.public_id}.parquet",
        content_type=results.PARQUET,
    )


def _write_table(job: Job, file: IO[bytes]) -> None:
    schema = pa.schema(list(columns_of(job).items()))
    with parquet.ParquetWriter(file, schema) as writer:
        for block in _blocks(results.flat(job)):
            writer.write_table(pa.Table.from_pylist(block, schema))


def columns_of(job: Job) -> dict[str, pa.DataType]:
    return ANSWERS if job.kind == "teacher_answers" else RATES


def _find(request: HttpRequest, job_id: str) -> Job:
    return permissions.find(actors.actor_of(request), "download", Job, public_id=job_id)


def _csv_text(job: Job) -> Iterator[str]:
    columns = list(columns_of(job))
    yield ",".join(columns) + "\n"
    for block in _blocks(results.flat(job)):
        yield csv_text.text_of([row.get(column) for column in columns] for row in block)


def _blocks(rows: Iterator[Row]) -> Iterator[list[Row]]:
    while block := list(itertools.islice(rows, ROWS_AT_ONCE)):
        yield block
