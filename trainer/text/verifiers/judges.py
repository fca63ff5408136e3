"""The judge of a verifier's definition."""

from __future__ import annotations

from pydantic import TypeAdapter

from trainer.spec import Verifier
from trainer.spec.verifiers import AnyVerifier
from trainer.text.mechanisms import function_of
from trainer.text.verifiers.records import Judge


def judge_of(definition: str) -> Judge:
    """The judge for a verifier's definition as JSON."""
    verifier: Verifier = TypeAdapter(AnyVerifier).validate_json(definition)
    judge: Judge = function_of(verifier)(verifier)
    return judge
