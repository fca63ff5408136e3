"""Objectives and logits for property tests."""

from __future__ import annotations

import torch
from hypothesis import strategies as st
from torch import Tensor

from trainer.spec import (
    JSD,
    AdaptiveKL,
    AllLogits,
    Clip,
    ForwardKL,
    NoClip,
    ReverseKL,
    SkewedKL,
    TopLogits,
)

temperatures = st.sampled_from([1.0, 0.7, 1.1, 2.0])
limits = st.floats(0.01, 3)
cuts = st.builds(Clip, scope=st.sampled_from(["entry", "entry_nonneg", "token"]), limit=limits)
clips = st.just(NoClip()) | cuts
tops = st.builds(
    TopLogits,
    k=st.integers(1, 35),
    of=st.sampled_from(["teacher", "student"]),
    rest=st.sampled_from(["renormalise", "tail"]),
)
vocabularies = st.just(AllLogits()) | tops
shared = {"temperature": temperatures, "clip": clips, "vocabulary": vocabularies}
shares = st.sampled_from([0.0, 0.1, 0.5, 0.9])

objectives = st.one_of(
    st.builds(ForwardKL, **shared),
    st.builds(ReverseKL, **shared),
    st.builds(JSD, beta=shares | st.just(1.0), **shared),
    st.builds(SkewedKL, alpha=shares, direction=st.sampled_from(["forward", "reverse"]), **shared),
    st.builds(AdaptiveKL, head_mass=st.sampled_from([0.2, 0.5, 0.99]), **shared),
)


def logit_table(seed: int) -> Tensor:
    """Teacher's and student's logits, [2, 6, 9]."""
    return (
        torch.randn(2, 6, 9, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 3
    )


logit_tables = st.integers(0, 2**31).map(logit_table)
