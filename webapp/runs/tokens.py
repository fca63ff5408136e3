"""One rollout token by token, read from the Parquet file that holds its block.

Every token has the student's and the teacher's log-probability, their divergence, the student's entropy, and the likeliest token of each
model at that place. Colours are steps of divergence in nats, the same on every page, so that two rollouts can be compared.
"""

from __future__ import annotations

import bisect
import math
from dataclasses import dataclass
from typing import Any

import pyarrow.parquet as parquet

from webapp import artifacts
from webapp.runs.models import RolloutRow, Run

STEPS = (0.01, 0.05, 0.2, 0.5, 1.0, 2.0)
PER_TOKEN = ("student_logprob", "teacher_logprob", "divergence", "entropy", "student_top", "teacher_top")


@dataclass(frozen=True)
class Token:
    """`shade` is 0 to 6 by divergence, None where it was not measured."""

    text: str
    shade: int | None
    agrees: bool
    values: dict[str, Any]

    @property
    def shown(self) -> str:
        """The text with what cannot be seen made visible."""
        return self.text.replace("\n", "⏎\n").replace("\t", "⇥") if self.text else "∅"


@dataclass(frozen=True)
class Rollout:
    row: RolloutRow
    question: str
    reference: str
    answer: str
    text: str
    tokens: list[Token]

    @property
    def scored(self) -> bool:
        return any(token.shade is not None for token in self.tokens)


class Gone(Exception):
    """The block that holds a rollout is not in the store."""


def read_rollout(run: Run, row: RolloutRow) -> Rollout:
    """The rollout behind an index row. Raises Gone if its block is missing or too short."""
    record = _record(run, row)
    pieces = record.get("tokens") or []
    columns = {name: _column(record, name, len(pieces)) for name in PER_TOKEN}
    tokens = [_token(str(piece), {name: column[i] for name, column in columns.items()}) for i, piece in enumerate(pieces)]
    text = str(record.get("text") or "".join(map(str, pieces)))
    return Rollout(
        row, str(record.get("question") or ""), str(record.get("reference") or ""), str(record.get("answer") or ""), text, tokens
    )


def shade_of(divergence: float | None) -> int | None:
    if divergence is None or not math.isfinite(divergence):
        return None
    return bisect.bisect_right(STEPS, divergence)


def _record(run: Run, row: RolloutRow) -> dict[str, Any]:
    try:
        file = parquet.ParquetFile(artifacts.path(run.team, row.artifact))
    except FileNotFoundError as error:
        raise Gone("The tokens of this rollout are not in the store.") from error
    rest = row.offset
    for group in range(file.num_row_groups):
        count = file.metadata.row_group(group).num_rows
        if rest < count:
            return dict(file.read_row_group(group).slice(rest, 1).to_pylist()[0])
        rest -= count
    raise Gone("The file that should hold this rollout is shorter than its index says.")


def _column(record: dict[str, Any], name: str, length: int) -> list[Any]:
    values = list(record.get(name) or [])
    return values + [None] * (length - len(values))


def _token(piece: str, values: dict[str, Any]) -> Token:
    teacher = values["teacher_top"]
    return Token(piece, shade_of(values["divergence"]), teacher is None or teacher == piece, values)
