r"""What around a number makes it a part of something else: an expression, a list, a range.

`2√3`, `x^2`, `(3,4)`, `5 or 7`, a ratio, a time, “at least 7”, “half of 7”, “not 7” are not their
last digits. All functions read text that `number_text.plain` has made.
"""

from __future__ import annotations

import re

from trainer.text.verifiers import units
from trainer.text.verifiers.alternatives import EITHER
from trainer.text.verifiers.number_words import NUMBER_WORD
from trainer.text.verifiers.rejections import is_rejected

# Between two numbers such a word leaves open which of them is meant.
HEDGED_AFTER = re.compile(
    rf"\W{{0,4}}{EITHER}(?![A-Za-z])\s*(?:maybe|perhaps|possibly|about|even|else)?"
    r"[^\w⟦]{0,4}[-+]?[$€£¥]?\s*(?=[\d⟦])",
    re.IGNORECASE,
)
OPERATOR = r"x|by|mod|times|plus|minus|over|choose"
HEDGED_BEFORE = re.compile(
    rf"[\d⟧%°](?:\s*[^\W\d]+){{0,2}}\s*(?:,\s*)?(?<![A-Za-z])(?:{EITHER}|{OPERATOR})\s*(?:maybe|perhaps)?\s*$"
    r"|[\d⟧]\s*[,;]\s*$|\b(?:between|from|either)\s+$",
    re.IGNORECASE,
)
# Inequalities in words, before and after a number.
BOUND_BEFORE = re.compile(
    r"\b(?:(?:less|more|greater|fewer|smaller|larger|bigger|higher|lower)\s+than|at\s+(?:least|most)|"
    r"up\s+to|(?:close|near|next)\s+to|near|(?:minimum|maximum)\s+of|over|under|above|below|beyond|exceed(?:s|ing)?|within|"
    r"(?:mehr|weniger|größer|kleiner)\s+als|mindestens|höchstens|(?:plus|moins)\s+(?:de|que|d['’])|"
    r"au\s+(?:moins|plus)|(?:más|menos|mayor|menor|mais|maior)\s+(?:de|que|do\s+que)|al\s+menos|"
    r"pelo\s+menos|(?:più|meno)\s+di|almeno|больше|меньше|более|менее)\s*$"
    r"|(?:大于|大於|小于|小於|多于|少于|高于|低于|超过|超過|至少|至多|最多|最少|不到|不足)\s*$",
    re.IGNORECASE,
)
BOUND_AFTER = re.compile(
    r"[^\n.,;:!?\d]{0,20}?(?:\b(?:or|and)\s+(?:more|less|fewer|greater|above|below|over|under|up|higher|"
    r"lower|larger|smaller|another|others)\b|以上|以下|以内|以內|未満|未满|多个|이상|이하)",
    re.IGNORECASE,
)
MONTHS = (
    "January|February|March|April|May|June|July|August|September|October|November|December|Jan|Feb|"
    "Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec"
)
# Words that make another number of the one after them: “half of 7”, “twenty 7”, “July 7”.
MODIFIED_BEFORE = re.compile(
    r"(?<![^\W\d_])(?:half|third|quarter|twice|thrice|double|triple|root|reciprocal|inverse|sum|product|"
    r"difference|quotient|log(?:arithm)?|ln|sin|cos|tan|factorial|negative|minus|plus|times|power|"
    r"multiples?|square|cube|remainder|r|steps?|pages?|chapter|psalm|verse|volume|vol|article|act|scene|question|problem|exercise|figure|table|"
    r"section|room|line|item|no|route|highway|flight|bus|gate|platform|level|grade|class|apartment|"
    rf"{MONTHS}|{NUMBER_WORD})"
    r"(?:\s+(?:of|and|the|a|-))*[.\s-]+$|\\[A-Za-z]+\s*$",
    re.IGNORECASE,
)
# `the 60s` are not 60 seconds.
DECADE = re.compile(r"\bthe\s+(?:late\s+|early\s+)?\d+s$")
MODIFIED_AFTER = re.compile(
    r" +(?:times|plus|minus|divided|multiplied|over|squared|cubed|factorial|mod|pi|sqrt|base|"
    r"raised|choose|halves|thirds|quarters|fourths|fifths|sixths|sevenths|eighths|ninths|tenths|"
    r"hundredths|thousandths|remainder)(?![A-Za-z])| *-?and +(?:a|one) +(?:half|third|quarter)"
    r"|%? *[\d⟦]|‰?%|\W*(?:or so\W*)?between +\d"
    rf"| +(?:of +)?(?:{MONTHS})\b| +(?:less|more|fewer|greater|higher|lower) +than\b| +past\b"
    r"| *[ap]\.?m\b| +off\b",
)

# What makes a number a part of a longer expression.
CONTINUES = re.compile(
    r"[\d⟦^_√π°'\"\[{+]|[!](?=\S)|\((?![^()]*[\u2e80-\uffef])[\w-]|[.,:][\d⟦]|[A-Za-zͰ-Ͽ\\]|-(?=\w)"
    r"| *[*/+±÷√π∶|≤≥<≠](?! *$)| *- *[\d⟦√π(\\]| +- *[A-Za-z](?![A-Za-z])"
    r"| *[:>] *[\d⟦]| *x *[\d⟦(]| *\\(?!n)| *, *[∞+-]",
)
# Characters before a number that may say what it is part of.
NEAR = 80
LETTER = re.compile(r"[A-Za-zÀ-ɏͰ-ϿЀ-ӿ]")
COPULA = re.compile(
    r"(?<![^\W\d_])(?:is|are|was|were|be|equals|equal|to|of|ist|est|es|è|é|becomes|gives|gets)$",
    re.IGNORECASE,
)


def stands_alone(text: str, begin: int, end: int) -> bool:
    """Whether text[begin:end] is no part of a longer expression, list, range or alternative."""
    before, after = text[:begin], text[end:]
    if CONTINUES.match(after) or not _may_begin(before, text[begin]):
        return False
    if is_qualified(before, after):
        return False
    if DECADE.search(text[:end]):
        return False
    alternative = HEDGED_AFTER.match(after)
    if alternative or re.match(r",\s+(?:(?:or|and)\s+)?[-+]?[$]?[\d⟦]", after):
        return False
    return not HEDGED_BEFORE.search(before[-NEAR:])


def is_qualified(before: str, after: str) -> bool:
    """Whether a value between these texts is a bound, a part of another value or rejected."""
    near = before[-NEAR:]
    is_part = any(pattern.search(near) for pattern in (BOUND_BEFORE, MODIFIED_BEFORE))
    return is_part or is_modified_by(after) or is_rejected(before, after)


def is_modified_by(after: str) -> bool:
    """Whether what follows a number makes it another one or a bound: `7 squared`, `7 or more`."""
    return bool(MODIFIED_AFTER.match(after) or BOUND_AFTER.match(after))


def _may_begin(before: str, sign: str) -> bool:
    stripped = before.rstrip()
    if not stripped:
        return True
    previous = stripped[-1]
    attached = len(stripped) == len(before)
    if sign in "-+":
        # `20-3` subtracts, `x=-3` and `it is -3` do not.
        if (
            previous in ")]}⟧%+-*/^|"
            or previous.isdigit()
            or re.search(r"(?<![^\W\d_])[A-Za-z]$", stripped)
        ):
            return False
        return not attached or not LETTER.match(previous) or bool(COPULA.search(stripped))
    if attached and LETTER.match(previous):
        return bool(COPULA.search(stripped))
    if previous == "(":
        return not re.search(r"\w\($", stripped)
    if previous == ":":
        return not re.search(r"\d\s*:$", stripped)
    # `1 250` and `5 min 30 s` are one thing of several numbers.
    if measured := re.search(r"[\d⟧] ?(?P<unit>[^\W\d_]+|['\"°])? +(?:and +)?$", before):
        return bool(measured["unit"]) and not units.known_unit(measured["unit"])
    return previous not in "*/^_+-√π±÷<>≤≥≠{[|\\∶" and not (attached and previous in ".'%‰])")
