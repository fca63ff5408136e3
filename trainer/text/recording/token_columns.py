"""Records of tensors [T]: split into rows, and moved to main memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import TypeVar

from torch import Tensor

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


def to_cpu(columns: Columns) -> Columns:
    return type(columns)(
        **{field.name: getattr(columns, field.name).cpu() for field in fields(columns)}
    )
