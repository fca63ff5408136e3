"""Records of tensors [T]: split into rows, and gathered from the ranks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import TypeVar

from torch import Tensor

from trainer.engine.distributed.world import World
from trainer.text.lm_head.linear_divergence import TokenScores, TokenStatistics

Columns = TypeVar("Columns", TokenScores, TokenStatistics)


def split(columns: Columns, lengths: Sequence[int]) -> list[Columns]:
    """One record per row; `lengths` add up to T."""
    chunks: dict[str, Sequence[Tensor]] = {
        field.name: getattr(columns, field.name).split(list(lengths)) for field in fields(columns)
    }
    return [
        type(columns)(**{name: chunk[index] for name, chunk in chunks.items()})
        for index in range(len(lengths))
    ]


def gather_rows(columns_by_row: Mapping[int, Columns], world: World) -> list[Columns]:
    """Records of the rows from all ranks, in row order.

    `columns_by_row` has the rows that this rank computes.
    """
    if world.size > 1:
        # Another rank cannot read this rank's device memory. One process copies nothing.
        on_cpu = [
            (
                index,
                type(columns)(
                    **{field.name: getattr(columns, field.name).cpu() for field in fields(columns)}
                ),
            )
            for index, columns in columns_by_row.items()
        ]
        columns_by_row = dict(world.concatenate(on_cpu))
    return [columns_by_row[index] for index in sorted(columns_by_row)]
