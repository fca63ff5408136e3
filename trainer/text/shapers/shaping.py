"""What ratio objectives learn by, changed after scoring by the shapers of a stage.

    value ← (what a shaper sets, else what is there) + Σ what others add, then × their factors

All shapers read the rows as the score phase leaves them, so that their order does not matter.
Tokens that were not sampled under a known law have no importance weight, whatever a shaper gives
them: those of edited answers and of answers after another prompt, and what was forced or written by
a teacher.

Shapes: T tokens of a row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.spec import Shaper, Stage
from trainer.spec.objectives.objective import Need, Write
from trainer.spec.shapers.shaper import How
from trainer.text.mechanisms import CodeError, function_of
from trainer.text.rollouts.importance_weights import weighted
from trainer.text.rollouts.records import TrainRow

Numbers = NDArray[np.float32]
# One value per row: of its tokens [T], or one number for all of them.
Changes = Mapping[Write, Sequence[Numbers | float]]

COLUMNS = {
    Need.OLD_LOGPROB: "anchor_logprobs",
    Need.TEACHER_LOGPROB: "teacher_logprobs",
    Need.REFERENCE_LOGPROB: "reference_logprobs",
}


def shape(rows: Sequence[TrainRow], stage: Stage) -> list[TrainRow]:
    """Return the rows with the changes of all shapers of the stage; as they are if there is none.

    Raises CodeError if a shaper returns something else than it declares.
    """
    if not stage.shapers.chosen:
        return list(rows)
    changes: list[tuple[How, Write, Sequence[Numbers | float]]] = []
    for shaper in stage.shapers.chosen:
        returned: Changes = function_of(shaper)(shaper, rows, stage)
        _require_declared(shaper, returned, rows)
        changes += [(shaper.writes[write], write, values) for write, values in returned.items()]
    # Sorted by how they change, and otherwise in the order of the fields.
    changes.sort(key=lambda change: ("sets", "adds", "multiplies").index(change[0]))
    return [
        _with_values(
            row,
            _combined(row, stage, [(how, write, values[index]) for how, write, values in changes]),
        )
        for index, row in enumerate(rows)
    ]


def logprobs(row: TrainRow, need: Need) -> Numbers:
    """Return log-probs [T] of a row that a shaper needs. Raises CodeError if they are missing."""
    column: Numbers | None = getattr(row, COLUMNS[need])
    if column is None:
        raise CodeError(
            f"a shaper uses {need.value}; add Need.{need.name} to the needs of its declaration"
        )
    return column


def _combined(
    row: TrainRow, stage: Stage, changes: Sequence[tuple[How, Write, Numbers | float]]
) -> dict[Write, Numbers]:
    """Return the changed values of a row; a change of all tokens is spread over them."""
    combined: dict[Write, Numbers] = {}
    for how, write, value in changes:
        before = combined.get(write)
        if before is None:
            before = _before(row, stage, write)
        after = (
            value + np.zeros_like(before)
            if how == "sets"
            else before + value
            if how == "adds"
            else before * value
        )
        combined[write] = after.astype(np.float32)
    return combined


def _before(row: TrainRow, stage: Stage, write: Write) -> Numbers:
    length = len(row.answer.ids)
    match write:
        case Write.ADVANTAGES:
            return np.zeros(length, np.float32) if row.advantages is None else row.advantages
        case Write.CLIP_LOW | Write.CLIP_HIGH:
            return np.full(length, getattr(stage.objective, write), np.float32)
        case Write.RATIO_OFFSETS:
            return np.full(length, np.nan, np.float32)
        case Write.IMPORTANCE_WEIGHTS:
            return np.ones(length, np.float32)
        case Write.ROW_WEIGHT:
            return np.ones((), np.float32)


def _with_values(row: TrainRow, values: dict[Write, Numbers]) -> TrainRow:
    importance = values.pop(Write.IMPORTANCE_WEIGHTS, None)
    row_weight = values.pop(Write.ROW_WEIGHT, None)
    changes: dict[str, Any] = {write.value: value for write, value in values.items()}
    shaped = replace(row, **changes)
    if importance is not None:
        shaped = weighted(shaped, np.where(_has_law(row), importance, np.float32(1)))
    return shaped if row_weight is None else replace(shaped, row_weight=float(row_weight))


def _has_law(row: TrainRow) -> NDArray[np.bool_]:
    """Which tokens [T] were sampled under a known law."""
    if row.behaviour_logprobs is None:
        return np.zeros(len(row.answer.ids), bool)
    return ~np.isnan(row.behaviour_logprobs)


def _require_declared(shaper: Shaper, returned: object, rows: Sequence[TrainRow]) -> None:
    """Raise CodeError for values that are not declared, too few or not numbers.

    NaN stands for the clipped ratio among ratio offsets, and is an error elsewhere.
    """
    if not isinstance(returned, Mapping) or returned.keys() != shaper.writes.keys():
        names = ", ".join(shaper.writes)
        raise CodeError(f"{shaper.function} must return a mapping with {names}, as it declares")
    for write, values in returned.items():
        if len(values) != len(rows):
            raise CodeError(
                f"{shaper.function} returns {len(values)} {write} for {len(rows)} rows; return one "
                "for each"
            )
        for row, value in zip(rows, values, strict=True):
            shapes = ((),) if write is Write.ROW_WEIGHT else ((), (len(row.answer.ids),))
            finite = np.isfinite(value) | (write is Write.RATIO_OFFSETS) & np.isnan(value)
            weight = write in (Write.ROW_WEIGHT, Write.IMPORTANCE_WEIGHTS)
            if np.shape(value) not in shapes or not finite.all() or (weight and np.any(value < 0)):
                raise CodeError(
                    f"{shaper.function} returns {write} for an answer of {len(row.answer.ids)} "
                    "tokens that are no finite numbers, one for each token or one for all; weights "
                    "must not be negative, and a row has one weight"
                )
