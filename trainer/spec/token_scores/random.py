from __future__ import annotations

from trainer.spec.token_scores.token_score import TokenScore

SCORE = TokenScore(
    name="random",
    help="No score, as a control.",
    uses=frozenset(),
    function="trainer.text.training.token_scores.random:score",
)
