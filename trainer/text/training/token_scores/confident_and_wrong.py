"""confident_and_wrong = KL(teacher ‖ student) · (1 − ĥ)."""

from __future__ import annotations

from trainer.spec import SelectedTokens
from trainer.text.training.token_importance import Array, cut, unit


def score(tokens: SelectedTokens, entropy: Array, reverse: Array, forward: Array) -> Array:
    unit_entropy = unit(cut(entropy, tokens.entropy_quantile))
    return cut(forward, tokens.divergence_quantile) * (1 - unit_entropy)
