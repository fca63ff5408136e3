"""What two evaluations must have in common to be compared problem by problem."""

from __future__ import annotations

from typing import Any

from trainer.spec import Sampling, StatedConfidence
from trainer.spec.confidence import Confidence
from trainer.spec.verifiers import AnyVerifier


def conditions(
    verifier: AnyVerifier, prompt: str, confidence: Confidence, sampling: Sampling
) -> dict[str, Any]:
    """The field `conditions` of an `evaluated` event."""
    is_stated = isinstance(confidence, StatedConfidence)
    return {
        "verifier": verifier.model_dump(mode="json"),
        "prompt": prompt,
        "confidence": confidence.model_dump(mode="json") if is_stated else None,
        "answer_limit": sampling.max_new_tokens,
        "sampling": sampling.model_dump(include={"temperature", "top_p", "top_k"}),
    }
