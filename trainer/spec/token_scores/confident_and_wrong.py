from __future__ import annotations

from trainer.spec.token_scores.token_score import TokenScore

SCORE = TokenScore(
    name="confident_and_wrong",
    help="The forward KL divergence where the student's entropy is low (Q3).",
    uses=frozenset({"entropy", "forward_kl"}),
    function="trainer.text.training.token_scores.confident_and_wrong:score",
)
