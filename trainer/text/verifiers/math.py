r"""Mathematical equality of LaTeX or plain expressions, by math-verify, which uses SymPy.

Only the child process imports this, because both can use unbounded time and memory on hostile
input.
"""

from __future__ import annotations

from trainer.spec import MathVerifier
from trainer.text.verifiers.records import Verdict, clean


class MathJudge:
    """The last expression of the completion must equal the reference."""

    def __init__(self, _: MathVerifier) -> None:
        import math_verify

        self.parse, self.verify = math_verify.parse, math_verify.verify
        # Loads grammar and solvers before the clock of the first verdict runs.
        self.judge("$x^2 + 2x + 1$", "(x + 1)^2")

    def read_reference(self, text: str) -> str:
        expressions = self._parsed(_delimited(text))
        return clean(str(expressions[-1])) if expressions else ""

    def judge(self, completion: str, reference: str) -> Verdict:
        reference_expressions = self._parsed(_delimited(reference))
        answer_expressions = self._parsed(completion)
        answer = clean(str(answer_expressions[-1])) if answer_expressions else ""
        if not reference_expressions:
            return Verdict(None, answer)
        return Verdict(
            bool(answer_expressions)
            and bool(self.verify(reference_expressions, answer_expressions, timeout_seconds=None)),
            answer,
        )

    def _parsed(self, text: str) -> list[object]:
        # math-verify measures time by the alarm that judge_process needs for itself, so both limits
        # are off.
        return list(self.parse(text, parsing_timeout=None))


def _delimited(reference: str) -> str:
    """The reference with `$` around it, unless it has delimiters of its own."""
    has_delimiters = any(mark in reference for mark in ("$", "\\boxed", "\\(", "\\["))
    return reference if has_delimiters else f"${reference}$"
