"""From rows of (prompt ids, completion ids) to the hidden states that predict each completion token."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from trainer.text.heads import last_hidden
from trainer.text.models import LanguageModel

Row = tuple[Sequence[int], Sequence[int]]


def micro_batches(rows: Sequence[Row], tokens: int) -> list[list[int]]:
    """Places of the rows, grouped so that each padded group holds at most `tokens` ids (or a single row), longest rows first."""
    groups: list[list[int]] = []
    longest = 0
    for place in sorted(range(len(rows)), key=lambda place: -_fed(rows[place])):
        if not groups or (len(groups[-1]) + 1) * longest > tokens:
            groups.append([])
            longest = _fed(rows[place])
        groups[-1].append(place)
    return groups


def response_hidden(language_model: LanguageModel, rows: Sequence[Row]) -> Tensor:
    """[ΣT, H], row by row: the state at a token's predecessor. A completion's last token predicts nothing and is not read."""
    fed = [_fed(row) for row in rows]
    ids_NT = torch.zeros(len(rows), max(fed), dtype=torch.long)
    predicts_NT = torch.zeros(ids_NT.shape, dtype=torch.bool)
    for line, ((prompt, completion), length) in enumerate(zip(rows, fed, strict=True)):
        ids_NT[line, :length] = torch.tensor((*prompt, *completion[:-1]))
        predicts_NT[line, len(prompt) - 1 : length] = True
    hidden_NTH = last_hidden(language_model.model, ids_NT.to(language_model.device))
    return hidden_NTH[predicts_NT.to(language_model.device)]


def completion_ids(rows: Sequence[Row]) -> Tensor:
    """[ΣT], row by row."""
    return torch.tensor([id for _, completion in rows for id in completion], dtype=torch.long)


def _fed(row: Row) -> int:
    prompt, completion = row
    return len(prompt) + len(completion) - 1
