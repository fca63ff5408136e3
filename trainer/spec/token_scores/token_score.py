"""What every score of tokens declares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Measurement = Literal["entropy", "reverse_kl", "forward_kl"]


@dataclass(frozen=True)
class TokenScore:
    """A score by which the tokens of an answer are selected.

    `uses` are the measurements of a token that it is computed from: the student's entropy and both
    directions of the KL divergence between student and teacher; a score without any has no order.
    `function` names a function of (SelectedTokens, entropy, reverse KL, forward KL), arrays [T],
    that returns the scores [T].
    """

    name: str
    help: str
    uses: frozenset[Measurement]
    function: str

    @property
    def compares_with_teacher(self) -> bool:
        return bool(self.uses - {"entropy"})
