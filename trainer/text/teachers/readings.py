"""What is known of a teacher's distribution at each token of one answer.

A teacher reads its own prompt, then the student's ids. Where its network, or its server, gives
hidden states, its last layer turns them into logits here. Other servers give the log-probs of the
k likeliest ids, or that of the written token alone; these are at temperature 1 and in nats.

Shapes: T tokens of the answer, H hidden of the teacher, K ids kept at a token.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

# In falling order of what they allow: every objective; divergences over the teacher's top tokens
# and what follows; ratio and policy-gradient objectives; texts alone.
Gives = Literal["hidden_states", "top_k", "sampled", "texts"]

# float32's resolution of 1: a smaller tail cannot be told from what the ids have of 1.
RESOLUTION = 2.0**-24
# Log-prob of a token that a server says is impossible: as −∞ it would make a reverse KL infinite.
LEAST_LOGPROB = -50.0


@dataclass(frozen=True)
class HiddenReading:
    """`hidden` [T, H] after the final norm; each state predicts its token."""

    hidden: Tensor


@dataclass(frozen=True)
class TopReading:
    """The likeliest `ids` [T, K] with their `logprobs` [T, K], and the written token's [T].

    K is the same for all readings of a teacher: places without an id have one beyond the
    vocabulary, and any log-prob. What the log-probs of the ids leave of 1 is the tail.
    """

    ids: Tensor
    logprobs: Tensor
    written: Tensor


@dataclass(frozen=True)
class WrittenReading:
    """The log-prob of the `written` token alone, [T]."""

    written: Tensor


Reading = HiddenReading | TopReading | WrittenReading


@dataclass(frozen=True)
class Unread:
    """An answer that its teacher could not read, and why: nothing is learnt from it."""

    reason: str


def top_logits(
    ids_CK: Tensor, logprobs_CK: Tensor, ids_C: Tensor, written_C: Tensor, vocabulary: int
) -> Tensor:
    """Return log-probs over the vocabulary, [C, vocabulary], that agree with all that is known.

    The K ids and the written ids `ids_C` have the given log-probs; what remains of 1 is divided
    equally among all others, none of which is likelier than the K ids. So divergences over the K
    likeliest ids, or fewer, are exact, with a tail or renormalised, down to a tail of float32's
    resolution; the entropy and divergences over the whole vocabulary are not.
    """
    # The column behind the vocabulary takes what has no id in it; it is cut off.
    inside_CK = ids_CK < vocabulary
    ids_CK = ids_CK.clamp(max=vocabulary).long()
    logprobs_CK = logprobs_CK.masked_fill(~inside_CK, -torch.inf)
    is_top_C = (ids_CK == ids_C[:, None]).any(-1)
    known_C = logprobs_CK.double().exp().sum(-1) + written_C.double().exp().masked_fill(is_top_C, 0)
    others_C = vocabulary - inside_CK.sum(-1) - (~is_top_C).long()
    least_C = logprobs_CK.masked_fill(~inside_CK, torch.inf).amin(-1).double()
    tail_C = (1 - known_C).maximum(least_C.exp().clamp_max(RESOLUTION))
    spread_C = (tail_C.log() - others_C.clamp_min(1).double().log()).minimum(least_C)
    table_CV = (
        spread_C.clamp_min(LEAST_LOGPROB).to(logprobs_CK.dtype)[:, None].repeat(1, vocabulary + 1)
    )
    table_CV.scatter_(1, ids_C[:, None], written_C.to(table_CV)[:, None])
    return table_CV.scatter_(1, ids_CK, logprobs_CK)[:, :vocabulary]
