"""Answers that a text itself rejects: “not 7”, “7 is wrong”, “not 6 but 7”, “7. Wait, it is 8”.

A rejected answer is none, even if nothing else in the text is an answer.
"""

from __future__ import annotations

import re
from functools import lru_cache

# Words that reject the value after them, of the languages whose marks are known.
NEGATION = (
    r"(?:(?<![^\W\d_])(?:not|never|neither|nor|hardly|cannot|none|no(?!\.)|without|except(?:ing)?|excluding|"
    r"excludes?|eliminat(?:e|es|ing)|rul(?:e|es|ing)\s+out|discard(?:s|ing)?|unlike|anything\s+(?:but|except)|all\s+but|other\s+than|rather\s+than|"
    r"instead\s+of|apart\s+from|opposed\s+to|nicht|kein\w*|weder|außer|niet|geen|pas|jamais|sauf|"
    r"ninguna?|nunca|não|nem|non|né|не|ни|кроме|nie|bukan|tidak|không\s+phải|ليس|ليست)(?![^\W\d_])"
    r"|n['’]t(?![^\W\d_])|不(?:可能|会|應|应|该|該)*是|并非|並非|未必|绝不|而非|不选|不選|不等于|不为|不能|没有|除了?|非|ไม่ใช่)"
)
# The thought before was another: “I first thought 7”.
DOUBT = r"(?<![^\W\d_])(?:thought|believed|assumed|guessed|tempted|tempting)(?![^\W\d_])"
# Words between a rejected value and the right one.
BUT = r"(?:but(?:\s+rather)?|sondern|mais|sino|mas|ma|bensì|а|но|而是|maar|ale|tapi)(?![^\W\d_])"
# At most three words are between a negation and what it rejects, and none that begins a clause.
CLAUSE = r"so|then|therefore|thus|hence|because|since|which|that|it|we|he|she|they|leaving"
BEFORE = re.compile(
    rf"(?:{NEGATION}|{DOUBT})[^\w.,;:!?\n]*"
    rf"(?:(?!(?:{CLAUSE}|{BUT})\b)[^\W\d_]{{1,20}}[^\w.,;:!?\n]+)"
    r"{0,3}[^\w.,;:!?\n]{0,3}$",
    re.IGNORECASE,
)
# After a value: “7 is wrong”, “7 cannot be right”, 7ではない, 7이 아닙니다.
END = r"(?![^\W\d_])"
COPULA = (
    r"(?:is|are|was|were|would\s+be|could\s+be|seems|looks|ist|sind|est|es|è|é|是)\s*"
    r"(?:[^\W\d_]+\s+){0,2}?"
)
WRONG = (
    r"(?:wrong|incorrect\w*|false|invalid|impossible|excluded|eliminated|ruled\s+out|too|close|"
    r"tempting|plausible|not|never|nicht|falsch|pas|faux|fausse|fals[oa]|errad[oa]|sbagliat[oa])"
)
AFTER = re.compile(
    rf"[\s)\]}}$*\"”`]*(?:{COPULA}{WRONG}{END}"
    rf"|(?:isn|doesn|can|wasn|couldn|aren|won)['’]t{END}|(?:cannot|can\s+not|does\s+not){END}"
    rf"|can\s+be\s+(?:excluded|eliminated|ruled\s+out){END}|(?:if|unless){END}(?! I\b)"
    r"|\?\s*I(?:['’]m|\s+am)\s+(?:not\s+(?:sure|certain)|unsure)"
    rf"|(?:n['’]est|no\s+es|não\s+é|non\s+è){END}|не(?:вер|прав|\s)"
    r"|(?:选项|項|项)?(?:是)?(?:错|錯|不对|不對|不正确|不正確|不成立|不符)|(?:は|が)?間違"
    r"|では(?:ない|あり)|じゃな|でない|(?:은|는|이|가)?\s*아[니닙]|değil|नहीं)",
    re.IGNORECASE,
)
# “The answer is 5. Wait, it is 7.”
RETRACTED = re.compile(
    r"\b(?:wait|actually|correction|scratch that|oops|on second thought|i (?:misread|miscalculated)"
    r"|made (?:a|an) (?:mistake|error)|let me (?:re|check|verify))"
    r"|\?[^.?!\n]{0,12}?\b(?:no|nope|wrong)\b",
    re.IGNORECASE,
)


def is_rejected(before: str, after: str) -> bool:
    """Whether a value between these texts is rejected by one of them."""
    return bool(BEFORE.search(before[-120:]) or AFTER.match(after[:80]))


def after_retraction(text: str, last_value: int) -> str:
    """What follows the last word such as “wait” before the value at an index; "" without one."""
    end = max((match.end() for match in RETRACTED.finditer(text, 0, last_value)), default=0)
    return text[end:].lstrip(" ,.:;") if end else ""


def without_rejected(text: str, value: str) -> str:
    """The text without what it rejects beside another value; `value` is the pattern of one.

    >>> without_rejected("not 6 but 7", "[0-9]")
    '7'
    >>> without_rejected("7 (not 6)", "[0-9]").strip()
    '7'
    """
    if not re.search(r"\w", text):
        return text
    leading, trailing = _alternatives(value)
    return trailing.sub(" ", leading.sub("", text))


@lru_cache(maxsize=8)
def _alternatives(value: str) -> tuple[re.Pattern[str], re.Pattern[str]]:
    leading = (
        rf"{NEGATION}\s*(?:{value})[\s,，]*(?:{BUT})\s*"
        rf"|(?:{value})\s*(?:ではなく|じゃなく|(?:이|가)\s*아니라)\s*"
    )
    trailing = (
        rf"(?<=\w)(?:[)\]}}$*.]*)(?:\s*[,;(，（]\s*|\s+)(?:(?:and|but|und|et|y|e|и|а|而)\s*)?"
        rf"{NEGATION}\s*(?:{value})(?![\w%])\s*[)）]?(?!\s*(?:{BUT}))"
    )
    return re.compile(leading, re.IGNORECASE), re.compile(trailing, re.IGNORECASE)
