"""Scores by which tokens are selected. One file declares one score."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from trainer.spec.mechanisms import DeclarationError, declared_in
from trainer.spec.token_scores.token_score import TokenScore

TOKEN_SCORES: dict[str, TokenScore] = {}
for _module in declared_in(__name__):
    for _score in vars(_module).values():
        if isinstance(_score, TokenScore):
            if _score.name in TOKEN_SCORES:
                raise DeclarationError(
                    f"{_module.__file__}: there is a score {_score.name} already"
                )
            TOKEN_SCORES[_score.name] = _score

if TYPE_CHECKING:
    ScoreName = str
else:
    ScoreName = Literal[tuple(TOKEN_SCORES)]
