from __future__ import annotations

from trainer.spec.token_scores.token_score import TokenScore

SCORE = TokenScore(
    name="divergence",
    help="The reverse KL divergence to the teacher.",
    uses=frozenset({"reverse_kl"}),
    function="trainer.text.training.token_scores.divergence:score",
)
