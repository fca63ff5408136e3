"""A server's scores of the fixed texts as numbers that can be stored and compared.

Of each text these are the log-probs of its written tokens and, where the server gives its k
likeliest, the log-prob of the first of them and the mass of all. Shapes: T tokens of a text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# Smaller log-probs count as this one: servers write log 0 in different ways.
LEAST_LOGPROB = -50.0
# A single text has fewer tokens than all together, so its mean varies more.
TEXT_SHARE = 4.0


@dataclass(frozen=True)
class Fingerprint:
    """Numbers [n] of each fixed text, by its name."""

    numbers: Mapping[str, Tensor]

    def to_json(self) -> dict[str, list[float]]:
        return {name: numbers.tolist() for name, numbers in self.numbers.items()}

    @classmethod
    def from_json(cls, stored: Mapping[str, Sequence[float]]) -> Fingerprint:
        return cls({name: torch.tensor(numbers) for name, numbers in stored.items()})

    def distance(self, other: Fingerprint) -> float:
        """Return the mean difference in nats, or that of the worst text as a share of its limit.

        Infinite for fingerprints of other texts.
        """
        if {name: len(row) for name, row in self.numbers.items()} != {
            name: len(row) for name, row in other.numbers.items()
        }:
            return float("inf")
        differences = {
            name: distance(numbers, other.numbers[name]) for name, numbers in self.numbers.items()
        }
        worst = max(float(row.mean()) for row in differences.values()) / TEXT_SHARE
        return max(worst, float(torch.cat([*differences.values()]).mean()))


def distance(first_T: Tensor, second_T: Tensor) -> Tensor:
    """Return |Δ| of log-probs, [T], in nats."""
    clamped = first_T.clamp(min=LEAST_LOGPROB), second_T.clamp(min=LEAST_LOGPROB)
    return (clamped[0] - clamped[1]).abs()


def numbers_of(written_T: Tensor, likeliest_TK: Tensor | None = None) -> Tensor:
    """Return the numbers of one text; `likeliest_TK` has falling log-probs, −∞ where none is."""
    if likeliest_TK is None:
        return written_T.float()
    mass_T = likeliest_TK.double().logsumexp(-1).float()
    return torch.cat([written_T.float(), likeliest_TK[:, 0].float(), mass_T])
