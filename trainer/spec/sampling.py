"""Sampling settings, used wherever a run samples answers from a model."""

from __future__ import annotations

from trainer.spec.base import Section, option


class Sampling(Section):
    """Sampling of answers."""

    temperature: float = option(1.0, title="Temperature", help="0: greedy decoding.", ge=0, le=10)
    top_p: float = option(
        1.0,
        title="Top-p",
        help="Sample from the smallest set of tokens with this probability mass; 1: all tokens.",
        gt=0,
        le=1,
        expert=True,
    )
    top_k: int = option(
        0,
        title="Top-k",
        help="Sample from this number of most likely tokens; 0: all tokens.",
        ge=0,
        le=1_000_000,
        expert=True,
    )
    max_new_tokens: int = option(
        64,
        title="Longest answer",
        help="Longer answers are cut and count as failed.",
        unit="tokens",
        ge=1,
        le=131_072,
    )
