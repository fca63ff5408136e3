"""From rows of (prompt ids, completion ids) to the hidden states that predict the completions."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from trainer.text.language.heads import last_hidden
from trainer.text.language.models import LanguageModel

Row = tuple[Sequence[int], Sequence[int]]


def micro_batches(rows: Sequence[Row], tokens: int) -> list[list[int]]:
    """Group row indices so that each padded group has at most `tokens` ids, longest rows first.

    A row longer than `tokens` is a group of its own.
    """
    groups: list[list[int]] = []
    longest = 0
    # Longest first, so that the first row of a group determines its width.
    for index in sorted(range(len(rows)), key=lambda index: -_input_length(rows[index])):
        if not groups or (len(groups[-1]) + 1) * longest > tokens:
            groups.append([])
            longest = _input_length(rows[index])
        groups[-1].append(index)
    return groups


def response_hidden(language_model: LanguageModel, rows: Sequence[Row]) -> Tensor:
    """Return hidden states [ΣT, H], row by row: for each completion token that of its predecessor.

    A completion's last token predicts nothing and is not read. Rows of similar length are read
    together to reduce padding.
    """
    groups = length_groups([_input_length(row) for row in rows], _pass_cost(language_model))
    hidden_TH = torch.cat(
        [_forward_padded(language_model, [rows[index] for index in group]) for group in groups]
    )
    if len(groups) == 1:
        return hidden_TH
    lengths = [len(completion) for _, completion in rows]
    read_order = [index for group in groups for index in group]
    begins = dict(
        zip(
            read_order,
            itertools.accumulate((lengths[index] for index in read_order), initial=0),
            strict=False,
        )
    )
    order_T = torch.cat(
        [
            torch.arange(begins[index], begins[index] + length)
            for index, length in enumerate(lengths)
        ]
    )
    return hidden_TH.index_select(0, order_T.to(hidden_TH.device))


def length_groups(lengths: Sequence[int], cost: float) -> list[Sequence[int]]:
    """Group row indices so that Σ padded ids + `cost` · groups is smallest.

    Rows of a group are read together, each padded to the longest. With the rows sorted by falling
    length, every group is a consecutive range; dynamic programming over the number of rows finds
    the best ranges, longest rows first. A single group keeps the order of the rows.
    """
    # Stable: rows of equal length keep their order, which rounding depends on.
    order = np.argsort(-np.asarray(lengths), kind="stable")
    longest = np.asarray(lengths, dtype=np.float64)[order]
    least, first = np.zeros(len(order) + 1), np.zeros(len(order) + 1, dtype=np.int64)
    for count in range(1, len(order) + 1):
        begins = np.arange(count)
        costs = least[:count] + cost + (count - begins) * longest[:count]
        first[count] = costs.argmin()
        least[count] = costs[first[count]]
    groups: list[Sequence[int]] = []
    end = len(order)
    while end:
        groups.append(order[first[end] : end].tolist())
        end = int(first[end])
    return groups[::-1] if len(groups) > 1 else [range(len(lengths))]


def _pass_cost(language_model: LanguageModel) -> float:
    """Return the cost of one more forward pass, in ids that could be read in that time.

    The constants are measured; the cost is larger where ids are cheap. A sharded network (with
    DTensors as parameters) must run the same number of passes in every process, whatever the rows'
    lengths.
    """
    parameters = list(language_model.model.parameters())
    if any(hasattr(parameter, "placements") for parameter in parameters):
        return math.inf
    if language_model.device.type != "cpu":
        return 2048
    # A pass costs what reading takes for 40 million parameter · ids; docs/performance.md has the
    # lengths that it was measured on.
    return 8 + 4e7 / sum(parameter.numel() for parameter in parameters)


def _forward_padded(language_model: LanguageModel, rows: Sequence[Row]) -> Tensor:
    fed = [_input_length(row) for row in rows]
    ids_NT = torch.zeros(len(rows), max(fed), dtype=torch.long)
    predicts_NT = torch.zeros(ids_NT.shape, dtype=torch.bool)
    for line, ((prompt, completion), length) in enumerate(zip(rows, fed, strict=True)):
        ids_NT[line, :length] = torch.tensor((*prompt, *completion[:-1]))
        # The first token of the completion is predicted at the last one of the prompt.
        predicts_NT[line, len(prompt) - 1 : length] = True
    hidden_NTH = last_hidden(language_model.model, ids_NT.to(language_model.device))
    return hidden_NTH[predicts_NT.to(language_model.device)]


def completion_ids(rows: Sequence[Row]) -> Tensor:
    """Return the completions' ids [ΣT], row by row."""
    return torch.tensor([id for _, completion in rows for id in completion], dtype=torch.long)


def _input_length(row: Row) -> int:
    prompt, completion = row
    return len(prompt) + len(completion) - 1
