r"""Mathematical equality of LaTeX or plain expressions, by the package math-verify (which parses to
SymPy).

Both may run for ever or use any amount of memory on hostile input: only the child process imports
this.
"""

from __future__ import annotations

from trainer.text.verifiers.records import Verdict, clean


class MathJudge:
    """The last expression of the completion must equal the reference."""

    def __init__(self) -> None:
        import math_verify

        self.parse, self.verify = math_verify.parse, math_verify.verify
        self.judge("$x^2 + 2x + 1$", "(x + 1)^2")  # loads grammar and solvers before the clock runs

    def read_reference(self, text: str) -> str:
        found = self._parsed(_delimited(text))
        return clean(str(found[-1])) if found else ""

    def judge(self, completion: str, reference: str) -> Verdict:
        wanted = self._parsed(_delimited(reference))
        found = self._parsed(completion)
        answer = clean(str(found[-1])) if found else ""
        if not wanted:
            return Verdict(None, answer)
        return Verdict(
            bool(found) and bool(self.verify(wanted, found, timeout_seconds=None)), answer
        )

    def _parsed(self, text: str) -> list[object]:
        return list(self.parse(text, parsing_timeout=None))


def _delimited(reference: str) -> str:
    """A bare reference is a formula as a whole; one with delimiters says itself where its formula
    is.
    """
    has_delimiters = any(mark in reference for mark in ("$", "\\boxed", "\\(", "\\["))
    return reference if has_delimiters else f"${reference}$"
