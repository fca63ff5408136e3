r"""Formulas as SymPy expressions, by math-verify.

Only the child process imports this, because math-verify and SymPy can use unbounded time and memory
on hostile input.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from trainer.text.verifiers.math_forms import Formula
from trainer.text.verifiers.quantity import Quantity

# math-verify reads R and r as one symbol, so a capital letter becomes an index of the small one.
CAPITAL = re.compile(
    r"\\(?:text|math[a-z]+|operatorname|mbox|begin|end)\s*\{[^{}]*\}|\\[A-Za-z]+|_\{[^{}]*\}|_\w"
    r"|(?P<letter>[A-Z])(?:_(?:(?P<index>\w)|\{(?P<indices>\w+)\}))?"
)
CAPITAL_INDEX = "99"
# A logarithm without base is natural to some and of base 10 to others.
NATURAL, COMMON = r"\ln", r"\log_{10}"
BARE_LOG = re.compile(r"\\log(?![A-Za-z])(?!\s*_)")


class FormulaParser:
    r"""Parses and compares formulas with the settings that these verdicts need.

    `log` is what a logarithm without base is read as, `\ln` or `\log_{10}`.
    """

    def __init__(self, log: str = NATURAL) -> None:
        self._log = log
        import math_verify
        from latex2sympy2_extended import NormalizationConfig

        self._parse, self._verify = math_verify.parse, math_verify.verify
        # Units are compared before; stripping them would make 3 h equal to 3 min.
        self._config = [
            math_verify.LatexExtractionConfig(
                boxed_match_priority=0,
                normalization_config=NormalizationConfig(
                    basic_latex=True, units=False, malformed_operators=True, nits=True, boxed="none"
                ),
            )
        ]
        self.parsed = lru_cache(maxsize=64)(self._parsed)

    def _parsed(self, latex: str) -> Any:
        """The expression of a formula; None if it cannot be parsed."""
        latex = BARE_LOG.sub(lambda match: f"{self._log} ", CAPITAL.sub(_small, latex))
        # math-verify measures time by the alarm that judge_process needs for itself, so its own
        # limits are off.
        expressions = self._parse(
            f"${latex}$",
            self._config,
            fallback_mode="no_fallback",
            parsing_timeout=None,
        )
        return expressions[0] if expressions else None

    def expression(self, value: Quantity | Formula) -> Any:
        from sympy import I, Rational

        if isinstance(value, Formula):
            parsed = self.parsed(value.text)
            imaginary = {s: I for s in getattr(parsed, "free_symbols", ()) if s.name == "i"}
            return parsed.subs(imaginary) if imaginary else parsed
        number = value.value / (100 if value.is_percent else 1)
        return Rational(number.numerator, number.denominator)

    def are_equal(self, answer: Any, reference: Any) -> bool:
        """Whether math-verify calls two expressions equal."""
        if answer is None or reference is None:
            return False
        return bool(
            self._verify(
                [reference],
                [answer],
                float_rounding=12,
                numeric_precision=30,
                allow_set_relation_comp=True,
                timeout_seconds=None,
            )
        )


def _small(match: re.Match[str]) -> str:
    if not match["letter"]:
        return match[0]
    index = match["index"] or match["indices"] or ""
    return f"{{{match['letter'].lower()}_{{{CAPITAL_INDEX}{index}}}}}"
