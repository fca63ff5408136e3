"""random = 0: every token is as likely to be drawn."""

from __future__ import annotations

import numpy as np

from trainer.spec import SelectedTokens
from trainer.text.training.token_importance import Array


def score(tokens: SelectedTokens, entropy: Array, reverse: Array, forward: Array) -> Array:
    return np.zeros_like(entropy)
