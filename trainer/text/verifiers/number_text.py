r"""Text with numbers without LaTeX, Markdown and typography: `\$12{,}480` becomes `$12,480`.

What has no plain form keeps its command or its sign, so that it is never read as a number:
`2\sqrt{3}` becomes `2√{3}`. A fraction becomes `⟦1/2⟧`.
"""

from __future__ import annotations

import re
import unicodedata

VULGAR = {
    "½": "1/2", "⅓": "1/3", "⅔": "2/3", "¼": "1/4", "¾": "3/4", "⅕": "1/5", "⅖": "2/5", "⅗": "3/5",
    "⅘": "4/5", "⅙": "1/6", "⅚": "5/6", "⅛": "1/8", "⅜": "3/8", "⅝": "5/8", "⅞": "7/8", "⅐": "1/7",
    "⅑": "1/9", "⅒": "1/10",
}  # fmt: skip
SUPERSCRIPT = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+")
SUBSCRIPT = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
SIGNS = str.maketrans(
    {
        **dict.fromkeys("−–‐‑‒﹣－", "-"),
        **dict.fromkeys("×·⋅∙✕", "*"),
        **dict.fromkeys("’‘", "'"),
        "⁄": "/",
        "∕": "/",
        "٫": ".",
        "٬": ",",
        "º": "°",
        "′": "'",
        "″": '"',
        "㎡": "m^2",
        "㎥": "m^3",
    }
)
THIN = r"[\u00a0\u2007\u2009\u200a\u202f]"
# LaTeX's spaces between digits in threes; other ones are plain spaces.
THOUSANDS = re.compile(rf"(?<=\d)(?:\\[,;:! ]|\\thinspace|~|{THIN})+(?=\d{{3}}(?!\d))")
COMMANDS = {
    "times": "*", "cdot": "*", "ast": "*", "approx": "≈", "pi": "π", "sqrt": "√", "pm": "±",
    "infty": "∞", "le": "≤", "leq": "≤", "ge": "≥", "geq": "≥", "lt": "<", "gt": "<", "to": "→",
    "rightarrow": "→", "Rightarrow": "→", "colon": ":", "degree": "°", "circ": "°", "euro": "€",
    "pounds": "£", "yen": "¥", "cent": "¢", "mid": "|", "ratio": ":", "minus": "-", "neq": "≠",
}  # fmt: skip
COMMAND = re.compile(r"\\([A-Za-z]+)")
TEXT_COMMANDS = (
    r"\\(?:text(?:bf|it|rm|sf|tt|normal)?|math(?:rm|bf|it|sf|bb|cal)|mbox|hbox|operatorname|"
    r"boldsymbol|bm|underline|emph)\s*\*?\s*\{([^{}]*)\}"
)
DELIMITED = re.compile(r"(?<!\\)\$(?=[^\s$])((?:\\.|[^$\\\n])*?)(?<=\S)\$(?!\d)")
# Nothing to do, as in the traces of arithmetic.
IS_PLAIN = re.compile(r"(?:[A-Za-z0-9+=<>,;:()/%?!'\"\n-]|\.(?!\.)| (?! ))*")
FRACTION = re.compile(r"\\[dtc]?frac\s*(?:\{\s*([^{}]*?)\s*\}|(\d))\s*(?:\{\s*([^{}]*?)\s*\}|(\d))")

OVER = re.compile(r"\{\s*([^{}]*?)\s*\\over\s*([^{}]*?)\s*\}")
# `0.\overline{12}`, `0.1\bar{6}`, `0.1666...`.
REPEATING = re.compile(
    r"(?<![\d.,])(?P<whole>\d{1,9})\.(?:(?P<start>\d{0,9})\\(?:overline|bar)\s*\{\s*(?P<block>\d{1,9})\s*\}"
    r"|(?P<digits>\d{3,30})(?:\.\.\.|…|\s*\\[lcd]?dots))(?!\s*\d)"
)


def plain(text: str) -> str:
    """The text in plain characters, on as many lines as before."""
    if IS_PLAIN.fullmatch(text):
        return text
    text = _without_emphasis(_without_delimiters(text))
    text = re.sub(r"\\(?:text)?color\s*\{[^{}]*\}", "", text).replace("（", " (")
    text = re.sub(r"\\!", "", text).replace("{,}", ",").replace("{.}", ".").replace("{:}", ":")
    text = THOUSANDS.sub("", text)
    text = re.sub(r"\\(?:[,;: ]|thinspace|quad|qquad)|~(?=\s|[A-Za-z\\])", " ", text)
    text = _plain_characters(text)
    text = re.sub(r"\\(?:left|right|[bB]igg?[lr]?|displaystyle|textstyle|rm|bf|it)(?![A-Za-z])",
                  "", text)  # fmt: skip
    for _ in range(2):
        text = re.sub(TEXT_COMMANDS, lambda match: f" {match[1]} ", text)
    text = OVER.sub(r"\\frac{\1}{\2}", text)
    text = FRACTION.sub(_fraction, REPEATING.sub(_repeating, text))
    text = COMMAND.sub(lambda match: COMMANDS.get(match[1], match[0]), text)
    text = text.replace("\\%", "%").replace("\\$", "$").replace("\\#", "#")
    text = re.sub(r"\^\{?\s*°\s*\}?", "°", text)
    text = re.sub(r"([\^_])\s*\{\s*([-+]?\w+)\s*\}(?=(\w?))", _exponent, text)
    text = re.sub(r"\{([-+]?[\d.,]+)\}", r"\1", text)
    return re.sub(r"[ \t]*\^[ \t]*", "^", re.sub(r"[ \t]+", " ", text))


def _fraction(match: re.Match[str]) -> str:
    over, under = match[1] or match[2] or "", match[3] or match[4] or ""
    # `\frac{\text{km}}{\text{h}}` is a unit.
    is_unit = over.strip().isalpha() and under.strip().isalpha()
    return f" {over.strip()}/{under.strip()}" if is_unit else f"⟦{over}/{under}⟧"


def _repeating(match: re.Match[str]) -> str:
    """A repeating decimal as a fraction: 0.1\\overline{6} is ⟦15/90⟧."""
    whole, start = match["whole"], match["start"] or ""
    block = match["block"]
    if block is None:
        # At least two repetitions of the same digits can be seen before the dots.
        shown = re.fullmatch(r"(?P<start>\d{0,3}?)(?P<block>\d+?)(?P=block)+", match["digits"])
        if shown is None or len(match["digits"]) < 3:
            return match[0]
        start, block = shown["start"], shown["block"]
    over = int(f"{whole}{start}{block}") - int(f"{whole}{start}")
    return f"⟦{over}/{(10 ** len(block) - 1) * 10 ** len(start)}⟧"


def _exponent(match: re.Match[str]) -> str:
    # `10^{5}6` must not become 10^56.
    return f"{match[1]}{match[2]}{' ' if match[3] else ''}"


def _without_delimiters(text: str) -> str:
    """The text without the signs around formulas. A dollar before a price stays."""
    text = re.sub(r"\\[\[\]()]|\$\$", " ", text)
    return DELIMITED.sub(lambda match: f" {match[1]} ", text)


def _plain_characters(text: str) -> str:
    text = "".join(
        f" {VULGAR[sign]}" if sign in VULGAR and index and text[index - 1].isdigit()
        else VULGAR.get(sign, sign)
        for index, sign in enumerate(text)
    )  # fmt: skip
    text = re.sub("[⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺]+", lambda match: "^" + match[0].translate(SUPERSCRIPT), text)
    text = re.sub("[₀-₉]+", lambda match: "_" + match[0].translate(SUBSCRIPT), text)
    # An em dash is a minus sign only where it touches a number and no word.
    text = re.sub(r"(?<![\w—])—(?=\d)", "-", text)
    text = unicodedata.normalize("NFKC", text.translate(SIGNS)).translate(SIGNS)
    return "".join(
        str(unicodedata.decimal(sign)) if sign.isdecimal() and not sign.isascii() else sign
        for sign in text
    )


def _without_emphasis(text: str) -> str:
    text = re.sub(r"(?<=\d)\*\*(?=-?\d)", "^", text)
    text = re.sub(r"(?<!\w)\*\*+|\*\*+(?!\w)|`|(?<![\w\\])__(?=\w)|(?<=[^\W_])__(?!\w)", "", text)
    text = re.sub(r"(^|[^\d\s]\s|\n)[*_](?=[^\s*_])", r"\1", text)
    return re.sub(r"(?<=[^\s*_])[*_](?=[\s.,;:!?)]|$)", "", text)
