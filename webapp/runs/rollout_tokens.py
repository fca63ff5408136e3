"""One rollout token by token, read from the Parquet file that holds its block.

Every token has the student's and the teacher's log-probability, their divergence, the student's
entropy, and the likeliest token of each model at that place. Colours are steps of divergence in
nats, the same on every page, so that two rollouts can be compared. A token whose coefficient is 0
was not trained on. What an older log does not say is None.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet

from webapp.library import artifacts
from webapp.runs.models import RolloutRow, Run

STEPS = (0.01, 0.05, 0.2, 0.5, 1.0, 2.0)
NUMBERS = (
    "student_logprob",
    "teacher_logprob",
    "divergence",
    "entropy",
    "coefficient",
    "advantage",
)
WORDS = ("student_top", "teacher_top")

EDIT = ("confidence", "target_confidence", "edited")


@dataclass(frozen=True)
class Token:
    """`shade` is 0 to 6 by divergence, None where it was not measured."""

    text: str
    shade: int | None
    agrees: bool
    values: dict[str, Any]

    @property
    def trained(self) -> bool:
        return self.values["coefficient"] is None or self.values["coefficient"] != 0

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
    teacher_prompt: tuple[int, ...]
    confidence: float | None
    target_confidence: float | None
    edited: bool

    @property
    def trained(self) -> int:
        """How many tokens were trained on."""
        return sum(token.trained for token in self.tokens)

    @property
    def scored(self) -> bool:
        return any(token.shade is not None for token in self.tokens)


@dataclass(frozen=True)
class Edit:
    """What an edited answer stated, and the confidence that was learnt instead."""

    stated: float | None
    learnt: float | None


class Gone(Exception):
    """The block that holds a rollout is not in the store, or cannot be read; the message says
    which.
    """


def read_rollout(run: Run, row: RolloutRow) -> Rollout:
    """The rollout behind an index row. Raises Gone if its block is missing, too short or
    damaged.
    """
    try:
        return _rollout(row, _record(run, row))
    except FileNotFoundError as error:
        raise Gone("The tokens of this rollout are not in the store.") from error
    except (
        pa.ArrowException,
        OSError,
        TypeError,
        ValueError,
        AttributeError,
        OverflowError,
    ) as error:
        raise Gone("The file of this rollout is damaged.") from error


def _rollout(row: RolloutRow, record: dict[str, Any]) -> Rollout:
    pieces = record.get("tokens") or []
    columns = {name: _column(record, name, len(pieces), float) for name in NUMBERS}
    columns |= {name: _column(record, name, len(pieces), str) for name in WORDS}
    tokens = [
        _token(str(piece), {name: column[i] for name, column in columns.items()})
        for i, piece in enumerate(pieces)
    ]
    text = str(record.get("text") or "".join(map(str, pieces)))
    question, reference, answer = (
        str(record.get(name) or "") for name in ("question", "reference", "answer")
    )
    return Rollout(
        row=row,
        question=question,
        reference=reference,
        answer=answer,
        text=text,
        tokens=tokens,
        teacher_prompt=tuple(map(int, record.get("teacher_prompt_ids") or ())),
        confidence=_known(record.get("confidence"), float),
        target_confidence=_known(record.get("target_confidence"), float),
        edited=bool(record.get("edited")),
    )


def edits(run: Run, rows: Sequence[RolloutRow]) -> dict[int, Edit]:
    """Which of the rows were edited, by primary key. A block that is not in the store, or is of an
    older log, tells of none.
    """
    blocks = {artifact: _edits_in(run, artifact) for artifact in {row.artifact for row in rows}}
    return {
        row.pk: blocks[row.artifact][row.offset]
        for row in rows
        if row.offset in blocks[row.artifact]
    }


def _edits_in(run: Run, artifact: str) -> dict[int, Edit]:
    try:
        file = parquet.ParquetFile(artifacts.path(run.team, artifact))
    except FileNotFoundError:
        return {}
    if not set(EDIT) <= set(file.schema_arrow.names):
        return {}
    records = file.read(columns=list(EDIT)).to_pylist()
    return {
        index: Edit(edit["confidence"], edit["target_confidence"])
        for index, edit in enumerate(records)
        if edit["edited"]
    }


def shade_of(divergence: float | None) -> int | None:
    if divergence is None or not math.isfinite(divergence):
        return None
    return bisect.bisect_right(STEPS, divergence)


def _record(run: Run, row: RolloutRow) -> dict[str, Any]:
    file = parquet.ParquetFile(artifacts.path(run.team, row.artifact))
    rest = row.offset
    for group in range(file.num_row_groups):
        count = file.metadata.row_group(group).num_rows
        if rest < count:
            return dict(file.read_row_group(group).slice(rest, 1).to_pylist()[0])
        rest -= count
    raise Gone("The file that should hold this rollout is shorter than its index says.")


def _column(
    record: dict[str, Any], name: str, length: int, kind: type[float] | type[str]
) -> list[Any]:
    values = [_known(value, kind) for value in record.get(name) or []]
    return values + [None] * (length - len(values))


def _known(value: Any, kind: type[float] | type[str]) -> Any:
    """The value as what it should be, or None. Raises TypeError or ValueError."""
    return None if value is None else kind(value)


def _token(piece: str, values: dict[str, Any]) -> Token:
    teacher = values["teacher_top"]
    return Token(piece, shade_of(values["divergence"]), not teacher or teacher == piece, values)
