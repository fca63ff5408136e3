from __future__ import annotations

from trainer.spec.token_scores.token_score import TokenScore

SCORE = TokenScore(
    name="entropy",
    help="The student's entropy.",
    uses=frozenset({"entropy"}),
    function="trainer.text.training.token_scores.entropy:score",
)
