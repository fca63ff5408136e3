"""Side files: tables too large for a line of the event log, as Parquet named by their SHA-256.

A file is complete under its final name before the event that names it is written.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from trainer.events import sync_folder
from trainer.text.evaluation.intervals import Counts
from trainer.text.problems import Message, ProblemSet

HISTORY = pa.list_(pa.struct([("role", pa.string()), ("text", pa.string())]))


def write(folder: Path, table: pa.Table) -> dict[str, Any]:
    """Write a table below `folder`; return an event's reference to it: {name, sha256, rows}."""
    folder.mkdir(parents=True, exist_ok=True)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    content = sink.getvalue()
    digest = hashlib.sha256(content).hexdigest()
    path = folder / f"{digest}.parquet"
    # The name is the content's hash, so an existing file is the same.
    if not path.exists():
        temporary = folder / f".writing-{digest}"
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            # The rename may reach the disk before the content does; a crash would leave an empty
            # file under a name that promises its hash.
            os.fsync(file.fileno())
        os.rename(temporary, path)
        # The rename must survive a crash before an event names the file.
        sync_folder(folder)
    return {"name": path.name, "sha256": digest, "rows": table.num_rows}


def problem_table(problems: ProblemSet) -> pa.Table:
    """Columns id, question, answer, domain, difficulty; history if a problem has one."""
    columns = ("id", "question", "answer", "domain", "difficulty")
    table = {
        name: pa.array([getattr(problem, name) for problem in problems.items], pa.string())
        for name in columns
    }
    if any(problem.history for problem in problems.items):
        histories = [list(map(Message._asdict, problem.history)) for problem in problems.items]
        table["history"] = pa.array(histories, HISTORY)
    return pa.table(table)


KEPT_ANSWERS = pa.list_(
    pa.struct(
        [
            ("sample", pa.int32()),
            *((name, pa.bool_()) for name in ("verdict", "truncated")),
            ("tokens", pa.int32()),
            *((name, pa.string()) for name in ("read", "text")),
            ("characters", pa.int32()),
        ]
    )
)


def result_table(
    ids: Sequence[str],
    passed: Counts,
    verdicts: Counts,
    answers: Sequence[Sequence[Mapping[str, Any]]] | None = None,
) -> pa.Table:
    """Columns problem, passed and verdicts: right and judged answers to each problem.

    And `answers`, if any are kept (`evaluation_answers`).
    """
    table = {
        "problem": pa.array(ids, pa.string()),
        "passed": pa.array(passed, pa.int32()),
        "verdicts": pa.array(verdicts, pa.int32()),
    }
    if answers is not None:
        table["answers"] = pa.array([list(kept) for kept in answers], KEPT_ANSWERS)
    return pa.table(table)


# Given, not inferred: a column with only None would be of type null, and a reader of several files
# would find two types under one name.
ROLLOUTS = pa.schema(
    [
        *((name, pa.string()) for name in ("problem", "question", "reference")),
        ("sample", pa.int32()),
        ("source", pa.string()),
        *((name, pa.list_(pa.int32())) for name in ("prompt_ids", "ids")),
        ("tokens", pa.list_(pa.string())),
        *((name, pa.string()) for name in ("text", "answer")),
        *((name, pa.bool_()) for name in ("verdict", "truncated")),
        *(
            (name, pa.list_(pa.float32()))
            for name in ("student_logprob", "teacher_logprob", "divergence", "entropy")
        ),
        *((name, pa.list_(pa.string())) for name in ("student_top", "teacher_top")),
        ("weight", pa.float64()),
        ("teacher_prompt_ids", pa.list_(pa.int32())),
        ("kind", pa.list_(pa.int8())),
        *((name, pa.list_(pa.float32())) for name in ("coefficient", "advantage")),
        *((name, pa.float64()) for name in ("confidence", "target_confidence")),
        ("edited", pa.bool_()),
        ("pair", pa.int32()),
        ("side", pa.string()),
    ]
)


def rollout_table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """One row per rollout; lists run over the tokens of the completion."""
    return pa.Table.from_pylist([dict(row) for row in rows], schema=ROLLOUTS)
