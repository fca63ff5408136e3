"""Scores by which tokens are selected. One file declares one score."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from trainer.spec.mechanisms import declared_in
from trainer.spec.token_scores.token_score import TokenScore

TOKEN_SCORES: dict[str, TokenScore] = {
    score.name: score
    for module in declared_in(__name__)
    for score in vars(module).values()
    if isinstance(score, TokenScore)
}

if TYPE_CHECKING:
    ScoreName = str
else:
    ScoreName = Literal[tuple(TOKEN_SCORES)]
