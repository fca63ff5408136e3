"""A teacher's answers as rows of a table, from the lines that the trainer writes.

`write` runs in a child process (`bounded_process`): no Django here.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def write(results: Sequence[Path], table: Path) -> None:
    """Write the rows of all result files, as JSON lines."""
    with table.open("w", encoding="utf-8") as file:
        for path in results:
            with path.open("rb") as lines:
                for line in lines:
                    row = answer(json.loads(line))
                    file.write(json.dumps(row, ensure_ascii=False) + "\n")


def answer(row: dict[str, Any]) -> dict[str, Any]:
    # The trainer writes one answer of several: the first right one, or the first.
    answer = row["answers"][0]
    return {
        "id": row["id"],
        "question": row["question"],
        "response": answer["text"],
        "answer": row["reference"],
        "right": answer["verdict"],
        "truncated": answer["truncated"],
        "tokens": answer["tokens"],
        "domain": row["domain"],
        "difficulty": row["difficulty"],
        # As text, so that tables can hold it; a data set reads it from there.
        "history": json.dumps(row["history"], ensure_ascii=False) if "history" in row else "",
    }
