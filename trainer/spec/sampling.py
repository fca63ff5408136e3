"""How answers are drawn from a model, wherever in a run this happens."""

from __future__ import annotations

from trainer.spec.base import Section, option


class Sampling(Section):
    """How answers are drawn."""

    temperature: float = option(1.0, title="Temperature", help="0 is greedy.", ge=0, le=10)
    top_p: float = option(
        1.0,
        title="Top-p",
        help="Keep the smallest set of tokens with this mass; 1 keeps all.",
        gt=0,
        le=1,
        expert=True,
    )
    top_k: int = option(
        0,
        title="Top-k",
        help="Keep that many tokens; 0 keeps all.",
        ge=0,
        le=1_000_000,
        expert=True,
    )
    max_new_tokens: int = option(
        64,
        title="Longest answer",
        help="Longer answers are cut and count as failures.",
        unit="tokens",
        ge=1,
        le=131_072,
    )
