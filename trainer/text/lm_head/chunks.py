"""What the two LM-head operators share: the size of a chunk and the sums of gradients.

Shapes: T tokens, C tokens of a chunk, H hidden, V vocabulary in use.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from trainer.text.language.heads import Head
from trainer.text.objectives.divergences import at_least_float32

# Entries of one [chunk × vocabulary] buffer: 64 tokens of a vocabulary of 152 thousand.
BUFFER_ENTRIES = 64 * 152_064


def tokens_per_chunk(vocabulary: int) -> int:
    return max(16, BUFFER_ENTRIES // vocabulary)


def chunks(tokens: int, chunk: int) -> Iterator[slice]:
    """Yield the tokens in slices of `chunk`.

    Without tokens there is one empty slice, so that an empty batch has a loss and gradients too.
    """
    return (slice(start, min(start + chunk, tokens)) for start in range(0, max(tokens, 1), chunk))


class Gradients:
    """Sums of the gradients of hidden states and head; those that are not needed stay None."""

    def __init__(self, hidden_TH: Tensor, head: Head, needed: Sequence[bool]) -> None:
        self.head = head
        wide = at_least_float32(hidden_TH.dtype)
        # Each chunk fills its own rows of `hidden`, but adds to the gradients of the head.
        self.hidden = torch.empty_like(hidden_TH) if needed[0] else None
        self.weight = torch.zeros_like(head.weight, dtype=wide) if needed[1] else None
        self.bias = (
            torch.zeros_like(head.bias, dtype=wide) if needed[2] and head.bias is not None else None
        )

    def add(self, tokens: slice, hidden_CH: Tensor, logits_gradient_CV: Tensor) -> None:
        vocabulary = logits_gradient_CV.shape[-1]
        narrow_CV = logits_gradient_CV.to(hidden_CH.dtype)
        if self.hidden is not None:
            torch.mm(narrow_CV, self.head.weight[:vocabulary], out=self.hidden[tokens])
        if self.weight is not None:
            self.weight[:vocabulary].addmm_(
                logits_gradient_CV.T, hidden_CH.to(logits_gradient_CV.dtype)
            )
        if self.bias is not None:
            self.bias[:vocabulary] += logits_gradient_CV.sum(0)
