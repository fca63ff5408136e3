"""The judge of a verifier's definition."""

from __future__ import annotations

from pydantic import TypeAdapter

from trainer.spec.data import ChoiceVerifier, ExactVerifier, NumericVerifier, Verifier
from trainer.text.verifiers.choice import ChoiceJudge
from trainer.text.verifiers.exact import ExactJudge
from trainer.text.verifiers.mathematical import MathJudge
from trainer.text.verifiers.numeric import NumericJudge
from trainer.text.verifiers.records import Judge


def judge_of(definition: str) -> Judge:
    """The judge for a verifier's definition as JSON."""
    spec: Verifier = TypeAdapter(Verifier).validate_json(definition)
    match spec:
        case ExactVerifier():
            return ExactJudge(spec)
        case NumericVerifier():
            return NumericJudge(spec)
        case ChoiceVerifier():
            return ChoiceJudge(spec)
    return MathJudge()
