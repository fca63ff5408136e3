"""Definitions of runs over small files and model folders, and what a preflight finds in them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.trainer.text.tiny import save_folder
from trainer.spec import load
from trainer.text.preflight.checks import check_run
from trainer.text.preflight.findings import Finding
from trainer.text.preflight.reporter import Reporter

STAGE = {
    "name": "only",
    "until": {"steps": 1},
    "rollouts": {"generate": {"sampling": {"max_new_tokens": 16}}},
}
LIMITS = {"sampling": {"max_new_tokens": 16}}
ROWS = [{"question": f"{number}+1=", "answer": str(number + 1)} for number in range(40)]


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return f"file:{path}"


def definition(
    folder: Path,
    rows: Sequence[Mapping[str, Any]] = ROWS,
    held_out: Sequence[Mapping[str, Any]] | None = None,
    student: Path | None = None,
    teacher: Mapping[str, Any] | None = None,
    stage: Mapping[str, Any] | None = None,
    **data: Any,
) -> dict[str, Any]:
    """A definition with these problems; both networks have one tokenizer unless named."""
    student = student or save_folder(folder / "student")
    # Equal networks have nothing to learn, so a definition with one twice is refused.
    twin = folder / "twin"
    shutil.copytree(student, twin, dirs_exist_ok=True)
    train = {
        "kind": "file",
        "path": write_rows(folder / "train.jsonl", rows),
        "columns": data.pop("columns", {}),
    }
    evaluation = {
        "kind": "file",
        "path": write_rows(
            folder / "held_out.jsonl", held_out or [{"question": "1+0=", "answer": "1"}]
        ),
    }
    return {
        "networks": {
            "student": {"model": f"file:{student}"},
            "teacher": teacher or {"kind": "model", "model": f"file:{twin}"},
        },
        "data": {"train": train, "evaluation": evaluation, **data},
        "pool": LIMITS,
        "evaluation": LIMITS,
        "stages": [{**STAGE, **(stage or {})}],
    }


def findings(definition: Mapping[str, Any], sample: int = 200) -> list[Finding]:
    """What the checks report, in this process."""
    found: list[Finding] = []
    check_run(load(dict(definition)), sample, Reporter(found.append, lambda phase: None))
    return found


def of(found: Sequence[Finding], severity: str) -> list[tuple[str, str, str]]:
    return [
        (finding.kind, finding.path, finding.sentence)
        for finding in found
        if finding.severity == severity
    ]
