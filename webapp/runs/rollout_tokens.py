"""One rollout token by token, read from the Parquet file that contains it.

Each token has the student's and the teacher's log-probability, their divergence, the student's
entropy, and the most likely token of each model at its position. A token whose coefficient is 0
was not trained on. Values that an older log does not contain are None.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet

from webapp.library import artifacts
from webapp.library.models import Artifact
from webapp.runs.models import RolloutRow, Run

# Edges between the shades of tokens, divergence in nats. They are the same on every page, so that
# two rollouts can be compared by their colours.
SHADE_EDGES = (0.01, 0.05, 0.2, 0.5, 1.0, 2.0)
NUMBER_COLUMNS = (
    "student_logprob",
    "teacher_logprob",
    "divergence",
    "entropy",
    "coefficient",
    "advantage",
)
TEXT_COLUMNS = ("student_top", "teacher_top")
EDIT_COLUMNS = ("confidence", "target_confidence", "edited")


@dataclass(frozen=True)
class Token:
    """A token and its values by column.

    `shade` is 0 to 6 by divergence, None if that was not measured. `agrees` says whether the
    token is the teacher's most likely one, or that is not known.
    """

    text: str
    shade: int | None
    agrees: bool
    values: dict[str, Any]

    @property
    def trained(self) -> bool:
        return self.values["coefficient"] is None or self.values["coefficient"] != 0

    @property
    def shown(self) -> str:
        """The text with visible signs for line breaks, tabs and the empty token."""
        return self.text.replace("\n", "⏎\n").replace("\t", "⇥") if self.text else "∅"


@dataclass(frozen=True)
class TokenizedRollout:
    """A stored rollout with its texts and tokens; confidences are those of its stated answer."""

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
        """The number of tokens that were trained on."""
        return sum(token.trained for token in self.tokens)

    @property
    def scored(self) -> bool:
        return any(token.shade is not None for token in self.tokens)


@dataclass(frozen=True)
class Edit:
    """The confidence that an edited answer stated, and the one that was learnt instead."""

    stated: float | None
    learnt: float | None


class RolloutUnavailable(Exception):
    """The file that contains a rollout is missing, too short or damaged; the message says which."""


def read_rollout(run: Run, row: RolloutRow) -> TokenizedRollout:
    """Return the rollout of an index row.

    Raises RolloutUnavailable if its file is missing, too short or damaged.
    """
    [rollout] = read_rollouts(run, [row])
    if isinstance(rollout, RolloutUnavailable):
        raise rollout
    return rollout


def read_rollouts(
    run: Run, rows: Sequence[RolloutRow]
) -> list[TokenizedRollout | RolloutUnavailable]:
    """Return the rollouts of index rows, or why one cannot be shown, with one query."""
    stored = set(
        Artifact.objects.filter(
            team=run.team_id, sha256__in={row.artifact for row in rows}
        ).values_list("sha256", flat=True)
    )
    return [_read(row, row.artifact in stored) for row in rows]


def _read(row: RolloutRow, is_stored: bool) -> TokenizedRollout | RolloutUnavailable:
    try:
        if not is_stored:
            raise FileNotFoundError(row.artifact)
        return _rollout(row, _record(artifacts.local_path(row.artifact), row.offset))
    except FileNotFoundError:
        return RolloutUnavailable("The tokens of this rollout are not in the store.")
    except RolloutUnavailable as error:
        return error
    # A damaged file fails in any of these ways, depending on which bytes are wrong.
    except (
        pa.ArrowException,
        OSError,
        TypeError,
        ValueError,
        AttributeError,
        OverflowError,
    ):
        return RolloutUnavailable("The file of this rollout is damaged.")


def _rollout(row: RolloutRow, record: dict[str, Any]) -> TokenizedRollout:
    token_texts = record.get("tokens") or []
    columns = {name: _column(record, name, len(token_texts), float) for name in NUMBER_COLUMNS}
    columns |= {name: _column(record, name, len(token_texts), str) for name in TEXT_COLUMNS}
    tokens = [
        _token(str(token_text), {name: column[i] for name, column in columns.items()})
        for i, token_text in enumerate(token_texts)
    ]
    # Older logs have no text; tokens are stored as text each, so that joining them gives it.
    text = str(record.get("text") or "".join(map(str, token_texts)))
    return TokenizedRollout(
        row=row,
        question=str(record.get("question") or ""),
        reference=str(record.get("reference") or ""),
        answer=str(record.get("answer") or ""),
        text=text,
        tokens=tokens,
        teacher_prompt=tuple(map(int, record.get("teacher_prompt_ids") or ())),
        confidence=_converted(record.get("confidence"), float),
        target_confidence=_converted(record.get("target_confidence"), float),
        edited=bool(record.get("edited")),
    )


def edits(run: Run, rows: Sequence[RolloutRow]) -> dict[int, Edit]:
    """Return the edits of those rows that were edited, by primary key.

    A file that is missing or was written by an older trainer has no edits.
    """
    # Rows of one step are in the same file, which is read once.
    edits_of = {artifact: _edits_in(run, artifact) for artifact in {row.artifact for row in rows}}
    return {
        row.pk: edits_of[row.artifact][row.offset]
        for row in rows
        if row.offset in edits_of[row.artifact]
    }


def _edits_in(run: Run, artifact: str) -> dict[int, Edit]:
    """Return the edits in one file by row offset."""
    try:
        file = parquet.ParquetFile(artifacts.path(run.team, artifact))
    except FileNotFoundError:
        return {}
    if not set(EDIT_COLUMNS) <= set(file.schema_arrow.names):
        return {}
    records = file.read(columns=list(EDIT_COLUMNS)).to_pylist()
    return {
        index: Edit(edit["confidence"], edit["target_confidence"])
        for index, edit in enumerate(records)
        if edit["edited"]
    }


def shade_of(divergence: float | None) -> int | None:
    """Return the index of the shade, 0 to 6; None if the divergence is missing or not finite."""
    if divergence is None or not math.isfinite(divergence):
        return None
    return bisect.bisect_right(SHADE_EDGES, divergence)


def _record(path: Path, offset: int) -> dict[str, Any]:
    file = parquet.ParquetFile(path)
    # Only the row group that contains the row is read: a file holds all rollouts of its step.
    for group in range(file.num_row_groups):
        count = file.metadata.row_group(group).num_rows
        if offset < count:
            return dict(file.read_row_group(group).slice(offset, 1).to_pylist()[0])
        offset -= count
    raise RolloutUnavailable(
        "The file that should hold this rollout is shorter than its index says."
    )


def _column(
    record: dict[str, Any], name: str, length: int, kind: type[float] | type[str]
) -> list[Any]:
    """Return one value per token: a column of an older log may be missing or shorter."""
    values = [_converted(value, kind) for value in record.get(name) or []]
    return values + [None] * (length - len(values))


def _converted(value: Any, kind: type[float] | type[str]) -> Any:
    """Return the value as `kind`, or None. Raises TypeError or ValueError if it does not fit."""
    return None if value is None else kind(value)


def _token(piece: str, values: dict[str, Any]) -> Token:
    teacher = values["teacher_top"]
    return Token(piece, shade_of(values["divergence"]), not teacher or teacher == piece, values)
