"""The judge of a verifier's definition."""

from __future__ import annotations

from pydantic import TypeAdapter

from trainer.spec import Verifier
from trainer.spec.verifiers import AnyVerifier
from trainer.text.mechanisms import CodeError, function_of
from trainer.text.verifiers.records import Judge, Verdict


def judge_of(definition: str) -> Judge:
    """The judge for a verifier's definition as JSON."""
    verifier: Verifier = TypeAdapter(AnyVerifier).validate_json(definition)
    judge: Judge = function_of(verifier)(verifier)
    # An error of one answer counts as “could not tell”. A judge that fails on a plain answer would
    # do so for all of them, so it is asked once before.
    verdict = judge.judge("The answer is 1.", "1")
    if not isinstance(verdict, Verdict):
        raise CodeError(
            f"{verifier.function} returns a {type(verdict).__name__} as verdict; return a Verdict"
        )
    return judge
