from __future__ import annotations

from trainer.spec.token_scores.token_score import TokenScore

SCORE = TokenScore(
    name="soft_or",
    help="High if either the entropy or the reverse KL divergence is high.",
    uses=frozenset({"entropy", "reverse_kl"}),
    function="trainer.text.training.token_scores.soft_or:score",
)
