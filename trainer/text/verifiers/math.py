r"""Mathematical equality. Formulas are parsed by math-verify, which uses SymPy.

`math_forms` first tells apart what a parser of expressions confuses: units, bases, times, ratios,
points and intervals. `math_equality` compares the forms. A logarithm without base has two readings;
where they give different verdicts, the verdict is open.

Only the child process imports this, because math-verify and SymPy can use unbounded time and memory
on hostile input.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from trainer.spec import MathVerifier
from trainer.text.verifiers import quantities
from trainer.text.verifiers.alternatives import EITHER
from trainer.text.verifiers.answer_regions import Region, answered_text, regions, without_cue
from trainer.text.verifiers.math_equality import Equality
from trainer.text.verifiers.math_forms import (
    FUNCTIONS,
    Clock,
    Form,
    Formula,
    Listing,
    Ratio,
    Words,
    form_of,
)
from trainer.text.verifiers.math_parsing import BARE_LOG, COMMON, FormulaParser
from trainer.text.verifiers.number_context import is_qualified
from trainer.text.verifiers.number_text import plain
from trainer.text.verifiers.numeric import NUMBER, SENTENCE_END
from trainer.text.verifiers.quantity import Quantity
from trainer.text.verifiers.records import Verdict, clean
from trainer.text.verifiers.rejections import after_retraction, without_rejected

FORMULA = re.compile(
    r"(?<!\\)\$\$(.+?)\$\$|\\\[(.+?)\\\]|\\\((.+?)\\\)"
    r"|(?<![\\\d])\$(?=[^\s$])((?:\\.|[^$\\\n])*?)(?<=\S)\$(?!\d)",
    re.DOTALL,
)
# Before a formula that is one of several, or a part of a calculation.
IS_PART = re.compile(
    rf"[$\d)}}\]]\s*,?\s*(?<![^\W\d_]){EITHER}\s*$|[\w$)}}]\s*[-+*/^<>≤≥]\s*$|\bbetween\s*$",
    re.IGNORECASE,
)
# What may be rejected beside another answer.
REJECTABLE = rf"\$[^$\n]{{1,80}}\$|{NUMBER}"


class MathJudge:
    """The last expression of the completion must equal the reference."""

    def __init__(self, spec: MathVerifier) -> None:
        self.spec = spec
        self.parser = FormulaParser()
        self.equality = Equality(self.parser, spec)
        self.with_common_logs = Equality(FormulaParser(COMMON), spec)
        # A problem's reference is read once for all answers to it.
        self._reference = lru_cache(maxsize=4096)(self._read_reference)
        # Loads grammar and solvers before the clock of the first verdict runs.
        self.judge("$x^2 + 2x + 1$", "(x + 1)^2")

    def read_reference(self, text: str) -> str:
        form, _ = self._reference(text)
        return clean(self._shown(form)) if form else ""

    def reference_mark(self, text: str) -> str:
        return self._reference(text)[1]

    def judge(self, completion: str, reference: str) -> Verdict:
        expected, _ = self._reference(reference)
        answer = self._answer(answered_text(completion, self.spec))
        read = clean(self._shown(answer)) if answer else ""
        if expected is None:
            return Verdict(None, read)
        if answer is None:
            return Verdict(False, read)
        is_right = bool(self.equality.equal(answer, expected))
        if BARE_LOG.search(answer.text + expected.text) and (
            bool(self.with_common_logs.equal(answer, expected)) != is_right
        ):
            return Verdict(None, read)
        return Verdict(is_right, read)

    def _read_reference(self, text: str) -> tuple[Form | None, str]:
        all_regions = regions(text)
        if not all_regions:
            return None, ""
        form = (
            self._readable(form_of(text, self.spec))
            if not all_regions[0].mark and not FORMULA.search(text.strip()[1:-1])
            else None
        )
        return form or self._in_region(all_regions[0]), all_regions[0].mark

    def _answer(self, text: str) -> Form | None:
        for region in regions(text):
            if form := self._in_region(region):
                return form
            if region.is_whole:
                return None
        return None

    def _in_region(self, region: Region) -> Form | None:
        if region.is_whole:
            text = region.text
            formulas = FORMULA.findall(text)
            if len(formulas) == 1 and not re.search(r"\d", FORMULA.sub("", text)):
                unit = FORMULA.sub("", without_cue(text)).strip(" .")
                text = next(filter(None, formulas[0])) + (f" \\text{{{unit}}}" if unit else "")
            return self._readable(form_of(without_cue(text), self.spec))
        return self._in_sentence(region.text) if region.mark else self._in_text(region.text)

    def _in_sentence(self, text: str) -> Form | None:
        """The answer after “The answer is”: one formula, several in a row, a number or words."""
        if corrected := _corrected(text):
            return self._in_text(corrected)
        text = without_rejected(text, REJECTABLE)
        formulas = list(FORMULA.finditer(text))
        end = SENTENCE_END.search(text)
        while end and any(f.start() < end.start() < f.end() for f in formulas):
            end = SENTENCE_END.search(text, end.end())
        sentence = text[: end.start()] if end else text
        formulas = [formula for formula in formulas if formula.start() < len(sentence)]
        before = sentence[: formulas[0].start()] if formulas else sentence
        if formulas and not re.search(r"\d", before):
            return self._in_formulas(sentence, formulas)
        flat = plain(sentence)
        if form := self._readable(form_of(sentence, self.spec)):
            is_prose = isinstance(form.value, Formula | Listing) and _is_prose(sentence)
            is_words = isinstance(form.value, Words) and re.search(r"\d", flat)
            if not is_prose and not is_words:
                return form
        quantity = quantities.first(without_rejected(flat, NUMBER), self.spec)
        return Form(quantity, quantity.text) if quantity else None

    def _in_formulas(self, sentence: str, formulas: Sequence[re.Match[str]]) -> Form | None:
        """The first formula, with those that follow it after a comma, “and” or “or”."""
        parts = [_content(formulas[0])]
        end = formulas[0].end()
        for formula in formulas[1:]:
            if not re.fullmatch(r"\s*,?\s*(?:and|or|,)\s*", sentence[end : formula.start()]):
                break
            parts.append(_content(formula))
            end = formula.end()
        text = ", ".join(parts)
        if is_qualified(sentence[: formulas[0].start()], sentence[end:]):
            return None
        form = self._readable(form_of(text, self.spec))
        if other := re.match(r"\s*(?:or|and)\s+(?=[-\d])", sentence[end:]):
            # `$\frac38$ or 37.5 %` is one answer.
            number = quantities.first(plain(sentence[end + other.end() :]), self.spec)
            second = Form(number, number.text) if number else None
            return form if form and second and self.equality.equal(second, form) else None
        # `$3$ hours` has its unit outside of the formula.
        unit = re.match(r"\s*(?P<unit>[^\W\d_][^\s.,;]*(?:\s*\^\s*\d)?|%|\\%)", sentence[end:])
        if unit and len(parts) == 1:
            with_unit = form_of(f"{text} {unit['unit']}", self.spec)
            if with_unit and isinstance(with_unit.value, Quantity):
                return with_unit
        return form

    def _in_text(self, text: str) -> Form | None:
        """The answer of a text without mark: all of it, its last formula or its last number."""
        text = _corrected(text) or text
        flat = plain(text)
        is_formula = "\n" not in text.strip() and not _is_prose(text)
        if is_formula and (form := self._readable(form_of(text, self.spec))):
            return form
        formulas = list(FORMULA.finditer(text))
        rest = text[formulas[-1].end() :] if formulas else text
        is_last = formulas and not re.search(r"\d", rest)
        before = text[: formulas[-1].start()] if formulas else ""
        if is_last and (is_qualified(before, rest) or IS_PART.search(before)):
            return None
        content = _content(formulas[-1]) if is_last else ""
        if form := self._readable(form_of(content, self.spec)):
            return form
        quantity = quantities.last(without_rejected(flat, NUMBER), self.spec)
        if quantity or re.search(r"\d", rest):
            return Form(quantity, quantity.text) if quantity else None
        return None

    def _readable(self, form: Form | None) -> Form | None:
        """The form, if the formulas in it can be parsed."""
        if form is None:
            return None
        value = form.value
        if self.equality.is_set(form):
            return form
        if isinstance(value, Formula):
            return form if self.parser.parsed(value.text) is not None else None
        if isinstance(value, Listing):
            return form if all(self._readable(item) for item in value.items) else None
        return form

    def _shown(self, form: Form) -> str:
        value = form.value
        if isinstance(value, Clock):
            text = f"{value.hour}:{value.minute:02}"
        elif isinstance(value, Ratio):
            text = ":".join(map(str, value.parts))
        elif isinstance(value, Quantity):
            text = value.shown
        else:
            text = value.text
        return f"{form.name} = {text}" if form.name else text


def _corrected(text: str) -> str:
    """What follows the last word such as “wait” before a formula or a number; "" without one."""
    values = [match.start() for match in re.finditer(r"\d+|(?<!\\)\$[^$]*\$|\\[(\[]", text)]
    return after_retraction(text, values[-1]) if values else ""


def _content(formula: re.Match[str]) -> str:
    return next(filter(None, formula.groups()), "")


def _is_prose(text: str) -> bool:
    """Whether a text has a formula or a number among words that belong to none."""
    bare = re.sub(r"\\[A-Za-z]+(?:\{[^{}\\]*\})?", "", text)
    words = re.findall(r"[A-Za-z]{3,}|\b(?:so|we|is|to|of|in|it|by)\b", bare, re.IGNORECASE)
    is_words = not re.search(r"[\d$=^<>+*\\]", text)
    return not is_words and any(word.lower() not in FUNCTIONS for word in words)
