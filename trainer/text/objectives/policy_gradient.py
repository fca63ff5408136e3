"""Policy gradient towards the teacher: −A log π_S(y), A = log π_T(y) − log π_S(y).

Source: OPSD, arXiv 2601.18734, eq. 9. Its expectation over tokens y sampled from the student is the
gradient of the reverse KL. Both distributions are those at the sampling temperature τ: with y drawn
from softmax(z / τ), log-probs at another temperature would estimate no divergence's gradient.
"""

from __future__ import annotations

from torch import Tensor

from trainer.spec import Objective
from trainer.text.objectives.sampled_tokens import SampledTokens, TokenLoss


def loss(_: Objective, tokens: SampledTokens) -> TokenLoss:
    return TokenLoss(policy_gradient(tokens.logprob, tokens.teacher_logprob))


def policy_gradient(logprob_T: Tensor, teacher_logprob_T: Tensor) -> Tensor:
    """Return the reverse KL's loss estimated from the sampled token, [T].

    Both log-probs are at the same temperature, and the token is sampled from the student.
    """
    advantages_T = (teacher_logprob_T - logprob_T).detach()
    return -advantages_T * logprob_T
