"""The texts of a run's problems, read from Parquet files that the trainer wrote beside its log."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet

from webapp.library import artifacts
from webapp.runs.models import Run

# `history` has the messages before the question: {role, text}.
COLUMNS = ["id", "question", "answer", "domain", "difficulty", "history"]


def problem_sets(run: Run) -> list[dict[str, Any]]:
    """Return the newest `problem_set` event of each role: role, fingerprint, count, set_aside."""
    newest: dict[str, dict[str, Any]] = {}
    for payload in (
        run.events.filter(type="problem_set")
        .order_by("attempt", "seq")
        .values_list("payload", flat=True)
    ):
        newest[payload["role"]] = payload
    return list(newest.values())


def questions(
    run: Run, ids: Iterable[str], fingerprint: str | None = None
) -> dict[str, dict[str, Any]]:
    """Return rows of the problem tables by id, for those of `ids` that a table contains.

    With `fingerprint` only of the set that has it: two sets may use an id for different questions.
    """
    wanted_ids = set(ids)
    text_by_id: dict[str, dict[str, Any]] = {}
    for payload in problem_sets(run):
        if fingerprint is not None and payload["fingerprint"] != fingerprint:
            continue
        # A problem may be in several sets; the later tables are not opened once all are found.
        if payload.get("file") and wanted_ids - text_by_id.keys():
            text_by_id |= _rows(run, payload["file"]["sha256"], wanted_ids)
    return text_by_id


def _rows(run: Run, sha256: str, ids: set[str]) -> dict[str, dict[str, Any]]:
    """Return rows of one table by id; none if the file is missing or damaged."""
    # A damaged file fails in any of these ways. A page without the texts is better than no page.
    try:
        path = artifacts.path(run.team, sha256)
        columns = [name for name in COLUMNS if name in parquet.read_schema(path).names]
        table = parquet.read_table(path, columns=columns, filters=[("id", "in", sorted(ids))])
    except (pa.ArrowException, OSError, TypeError, ValueError):
        return {}
    return {str(row["id"]): {**row, "history": _messages(row)} for row in table.to_pylist()}


def _messages(row: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the messages of a row; none if its log is older or another program wrote it."""
    history = row.get("history")
    is_list = isinstance(history, list) and all(isinstance(item, dict) for item in history)
    return history if is_list and history else []
