"""The scores of one text as a server gives them, checked for what no right server can answer.

Shapes: T tokens of the scored part, K likeliest ids at each, H hidden of the teacher.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from trainer.text.teachers.readings import HiddenReading, Reading, TopReading, WrittenReading

# float32 rounding of a log-prob near 0, and of a sum of probabilities near 1.
ROUNDING = 1e-3
# Larger than every id: a place without an id.
NO_ID = 2**31 - 1


class SignalFault(ValueError):
    """A server's scores cannot be right. The message continues "The teacher at … "."""


@dataclass(frozen=True)
class Scores:
    """Log-probs of the `written` tokens [T], of the likeliest ids [T, K], or `hidden` [T, H].

    `texts` are the tokens as the server's tokenizer writes them, where it says so.
    """

    written: Tensor
    ids: Tensor | None = None
    logprobs: Tensor | None = None
    hidden: Tensor | None = None
    texts: tuple[str | None, ...] = ()

    @property
    def reading(self) -> Reading:
        if self.hidden is not None:
            return HiddenReading(self.hidden)
        if self.ids is not None and self.logprobs is not None:
            return TopReading(self.ids, self.logprobs, self.written)
        return WrittenReading(self.written)


@dataclass(frozen=True)
class TokenEntry:
    """One token as a server scores it: the written one, and (id, log-prob) of the likeliest."""

    id: int
    logprob: float
    likeliest: Sequence[tuple[int, float]]
    text: str | None = None


def scores_of(entries: Sequence[TokenEntry], ids: Sequence[int], k: int, vocabulary: int) -> Scores:
    """Return the scores of the last len(entries) tokens of the text `ids`.

    `k` is 0 where only written tokens count. Raises SignalFault for other tokens than those of the
    text, for numbers that are no log-probs, and for fewer than k ids of the vocabulary.
    """
    scored = ids[len(ids) - len(entries) :]
    for position, (entry, id) in enumerate(zip(entries, scored, strict=True)):
        if entry.id != id:
            raise SignalFault(
                f"scores the token {entry.id} where the text has {id} (token {position + 1} of "
                f"{len(scored)} of an answer): its scores are shifted, or its text is another one"
            )
        _require_logprob(entry.logprob)
    written = torch.tensor([entry.logprob for entry in entries], dtype=torch.float32)
    texts = tuple(entry.text for entry in entries)
    if not k:
        return Scores(written, texts=texts)
    rows = [_likeliest(entry, k, vocabulary) for entry in entries]
    return Scores(
        written,
        torch.tensor([[id for id, _ in row] for row in rows], dtype=torch.int32).reshape(-1, k),
        torch.tensor([[value for _, value in row] for row in rows]).reshape(-1, k),
        texts=texts,
    )


def _require_logprob(value: float) -> None:
    if math.isnan(value) or value > ROUNDING:
        raise SignalFault(f"gives {value} as a log-prob, which is never above 0")


def _likeliest(entry: TokenEntry, k: int, vocabulary: int) -> list[tuple[int, float]]:
    """Return the k likeliest ids of a token, the likeliest first, filled up if there are fewer."""
    likeliest = sorted(dict(entry.likeliest).items(), key=lambda pair: -pair[1])[:k]
    if len(likeliest) < min(k, vocabulary):
        raise SignalFault(
            f"gives {len(likeliest)} likeliest tokens where {k} are asked for; lower gives.k, or "
            "raise the server's own limit (vLLM: --max-logprobs)"
        )
    for _, value in likeliest:
        _require_logprob(value)
    inside = any(id == entry.id for id, _ in likeliest)
    mass = sum(math.exp(value) for _, value in likeliest)
    mass += 0.0 if inside else math.exp(entry.logprob)
    if mass > 1 + ROUNDING:
        raise SignalFault(
            f"gives probabilities that add up to {mass:.4f}, so the mass of all other tokens would "
            "be negative: they are not those of one distribution at temperature 1"
        )
    if not inside and entry.logprob > likeliest[-1][1] + ROUNDING:
        raise SignalFault(
            f"leaves the token {entry.id} out of the {k} likeliest, though its log-prob "
            f"{entry.logprob:.3f} is higher than that of the last of them, {likeliest[-1][1]:.3f}"
        )
    return likeliest + [(NO_ID, 0.0)] * (k - len(likeliest))
