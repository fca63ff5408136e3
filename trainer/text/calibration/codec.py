"""The statement of a confidence in an answer's text: requested, read, written and replaced.

Source: CaOPD (arXiv 2604.16830), section 3 and code. A statement is the wording with a number, such
as the line `Confidence: 0.38` or ` conf:0.4` in running text. Case, spacing and Markdown emphasis
of the words do not matter. With `own_line` it begins a line, so that the same words in the
reasoning are no statement. The number may stand alone on the next line. The tags
`<confidence>0.38</confidence>` are a statement where there is no other. The number is 0 … 1, or a
percentage with its sign; a full stop or bracket around it is not part of it. `0.5 %` is 0.005 only
where wording or instruction speak of percent: elsewhere models write it for one half. The last
statement counts, as in the released code.

Problems of an answer's confidence; the first that applies is reported. All but the last leave the
answer without a confidence:

    missing        no statement
    malformed      the last statement has no number
    out_of_range   the last number is below 0 or above 1 (85 is no percentage without its sign)
    duplicated     earlier statements have another number
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from functools import cached_property
from typing import Literal, get_args

from trainer.spec.confidence import StatedConfidence

Problem = Literal["", "missing", "duplicated", "out_of_range", "malformed"]
PROBLEMS = tuple(problem for problem in get_args(Problem) if problem)

EMPHASIS = r"[ \t*_`]*"
# What Markdown may have before a line: quotations, lists, headings, emphasis.
MARKUP = r"[ \t>*_#`-]*"
# Whatever is in the place of the number. If it is none, the statement is malformed.
WRITTEN = r"(?P<written>[^\s*_`]*(?:[ \t]*%)?)"
NUMBER = re.compile(r"([-+]?(?:\d+\.?\d*|\.\d+))[ \t]*(%?)")
TAGGED = re.compile(
    r"<confidence>\s*(?P<written>[^<>\s]*(?:[ \t]*%)?)\s*</confidence>", re.IGNORECASE
)
# A line break before a number that is alone on its line.
NEXT_LINE = r"(?:\n[ \t]*(?=[*_`(\[{~≈$]*[-+]?[\d.]+[ \t]*%?[*_`)\]}.,;!]*[ \t]*$))?"
# Signs before and after a number that are not part of it.
OPENING, CLOSING = "([{\"'~≈$", ".,;:!?)]}\"'$"
LEVELS = tuple(tenths / 10 for tenths in range(11))


@dataclass(frozen=True, slots=True)
class Reading:
    """The stated confidence in 0 … 1 or None, and its problem."""

    value: float | None
    problem: Problem = ""


@dataclass(frozen=True, slots=True)
class Statement:
    """Characters start … end − 1 of a text are a statement; `number` is None where it has none."""

    start: int
    end: int
    number: float | None


@dataclass(frozen=True)
class Codec:
    """Reads and writes confidences as the settings say."""

    settings: StatedConfidence

    def instruction(self, prompt: str) -> str:
        """Return the prompt with the request for a confidence below it."""
        return f"{prompt}\n{self.settings.instruction}" if self.settings.instruction else prompt

    def render(self, value: float) -> str:
        """Return the statement of a value in 0 … 1, without line break.

        Halves are rounded to even digits, so that pass rates of 8 rollouts, 0.12 0.25 0.38 …, are
        right on average with 2 decimals. Raises ValueError if the value is not in 0 … 1.
        """
        if not 0 <= value <= 1:
            raise ValueError(f"a confidence must lie between 0 and 1, not at {value}")
        # From repr, the number that a person reads: 0.145 is a half there, its binary value is
        # none.
        digits = Decimal(repr(float(value))).quantize(
            Decimal(1).scaleb(-self.settings.decimals), ROUND_HALF_EVEN
        )
        return self.settings.wording.replace("{value}", f"{digits:f}", 1)

    def rounded(self, value: float) -> float:
        """Return the value as `render` writes it."""
        return self.read(self.render(value)).value or 0.0

    def read(self, text: str) -> Reading:
        statements = self._matches(text) or self._tagged(text)
        if not statements:
            return Reading(None, "missing")
        last = statements[-1].number
        if last is None:
            return Reading(None, "malformed")
        if not 0 <= last <= 1:
            return Reading(None, "out_of_range")
        if any(statement.number not in (None, last) for statement in statements):
            return Reading(last, "duplicated")
        return Reading(last)

    def statements(self, text: str) -> list[Statement]:
        """Return every statement with a number, and the last one even without."""
        matches = self._matches(text)
        # The wording may have these tags itself.
        tagged = [
            tag
            for tag in self._tagged(text)
            if not any(other.start < tag.end and tag.start < other.end for other in matches)
        ]
        with_number = [
            statement
            for statement in matches
            if statement.number is not None or statement is matches[-1]
        ]
        return sorted([*with_number, *tagged], key=lambda statement: statement.start)

    def strip(self, text: str) -> str:
        """Return the text without its statements. The line break before a statement stays."""
        for statement in reversed(self.statements(text)):
            text = text[: statement.start] + text[statement.end :]
        return text

    def separator(self, text: str) -> str:
        """Return the line break that a statement after this text needs, or an empty string."""
        return "\n" if self.settings.own_line and text and not text.endswith("\n") else ""

    def replace(self, text: str, value: float) -> str:
        """Return the text with this value as its only statement, at its end."""
        reasoning = self.strip(text)
        return reasoning + self.separator(reasoning) + self.render(value)

    def _matches(self, text: str) -> list[Statement]:
        statements, position = [], 0
        while match := self._pattern.search(text, position):
            statements.append(self._statement(text, match))
            # What was taken for a number may be the beginning of the next statement.
            position = match.end("words") if statements[-1].number is None else match.end()
        return statements

    def _tagged(self, text: str) -> list[Statement]:
        return [
            Statement(match.start(), match.end(), self._number(match["written"]))
            for match in TAGGED.finditer(text)
        ]

    def _statement(self, text: str, match: re.Match[str]) -> Statement:
        number = self._number(match["written"])
        line_end = text.find("\n", match.end())
        no_number = number is None and self.settings.own_line
        return Statement(
            match.start(),
            (line_end if line_end >= 0 else len(text)) if no_number else match.end(),
            number,
        )

    def _number(self, written: str) -> float | None:
        """0.9 for `0.9.`, 0.85 for `85 %`, None for `1.2.3`, `8/10` or `high`."""
        digits = NUMBER.fullmatch(written.lstrip(OPENING).rstrip(CLOSING))
        if not digits:
            return None
        value = float(digits[1])
        is_share = "." in digits[1] and abs(value) <= 1 and not self._asks_for_percent
        return value / 100 if digits[2] and not is_share else value

    @cached_property
    def _asks_for_percent(self) -> bool:
        words = f"{self.settings.wording} {self.settings.instruction}".casefold()
        return "%" in words or "percent" in words

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        before, _, after = self.settings.wording.partition("{value}")
        start_pattern = EMPHASIS.join(re.escape(token) for token in _parts(before))
        end_pattern = "".join(EMPHASIS + re.escape(token) for token in _parts(after))
        if self.settings.own_line:
            lead = rf"^{MARKUP}"
        else:
            # A space of the wording belongs to the statement, and the words must not begin inside
            # a longer word.
            lead = r"[ \t]?" if before[0].isspace() else ""
            lead += r"(?<!\w)[*_`]*" if re.match(r"\s*[*_`]*\w", before) else ""
        return re.compile(
            rf"{lead}(?P<words>{start_pattern}){EMPHASIS}{NEXT_LINE}{EMPHASIS}{WRITTEN}(?:{end_pattern})?[*_`]*",
            re.IGNORECASE | re.MULTILINE,
        )


def _parts(wording: str) -> list[str]:
    """Return words and signs, without the emphasis that is allowed anywhere between them."""
    tokens = re.findall(r"[^\W_]+|[^\w\s]|_", wording)
    return [token for token in tokens if token not in "*_`"] or tokens
