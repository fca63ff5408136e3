r"""Where a text has its answer.

1. Reasoning is skipped: the answer is after the last closed thinking block, and after a block that
   is never closed there is none (`Verifier.thinking`).
2. A question that the model invents after its answer is cut off (`Verifier.next_question`).
3. The last complete mark counts that the text does not reject, as “not \boxed{7}” does. Marks whose
   whole text is the answer: `\boxed{42}`, GSM8K's `#### 42` up to the end of its line,
   `<answer>42</answer>`, `{"answer": 42}`. Marks before a sentence: “The answer is 42.”,
   “Answer: 42”, “答案是42”. A `\boxed{` that is never closed is not complete.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from trainer.spec import Verifier
from trainer.text.verifiers.next_question import before_next_question
from trainer.text.verifiers.rejections import BUT, NEGATION, is_rejected
from trainer.text.verifiers.thinking import after_thinking

BOX, HASHES, TAG, PHRASE = "\\boxed{}", "####", "<answer>", "“answer is”"


@dataclass(frozen=True, slots=True)
class Region:
    """A text with an answer: all of `text` if `is_whole`, else its first sentence.

    `mark` is the mark before it, "" for a text without one.
    """

    mark: str
    text: str
    is_whole: bool = False


# Level-4 headings of Markdown, which are no answers.
HEADING = re.compile(
    r"\W*(?:(?:final\s+)?answer\W*$|step|part|case|solution|approach|analysis|explanation|verif\w*|check\w*|conclusion"
    r"|calculat\w*|given|setup|find\w*|comput\w*|method|understand\w*|problem|note|summary|"
    r"\d+[.)]\s)",
    re.IGNORECASE,
)
HASHES_LINE = re.compile(r"#{4,}(?P<line>[^\n]*)")
OPEN_BOX = re.compile(
    r"\\(?:boxed|f(?:rame)?box)\s*(?:\{|(?P<bare>-?\d+(?:\.\d+)?|[A-Za-z](?![A-Za-z])))"
)
TAGGED = re.compile(r"<((?:final_?)?answer)>(?P<text>.*?)</\1\s*>", re.IGNORECASE | re.DOTALL)
# A JSON object: `{"answer": "7"}`.
JSON_VALUE = re.compile(
    r'"(?:final_?)?answer"\s*:\s*(?:"(?P<string>(?:\\.|[^"\\])*)"|(?P<bare>[^\s,{}\[\]"]+))',
    re.IGNORECASE,
)
OPEN_TAG = re.compile(r"<(?:final_?)?answer>", re.IGNORECASE)
# `\{` and `\}` are brackets of a set.
BRACE = re.compile(r"(?<!\\)[{}]")
MOST_MARKS = 20
# Control tokens that a decoder leaves in the text.
CONTROL_TOKEN = re.compile(r"<\|\w{1,40}\|>")
# Between two boxes that are one answer: `\boxed{3} and \boxed{4}`.
BETWEEN_BOXES = re.compile(r"[\s$,;]*(\\text\{)?\s*(?P<word>or|and|,|;|)\s*\}?[\s$,;]*")

# Emphasis and colons around the words of a phrase.
E = r"[*_`\s]{0,4}"
IS = (
    rf"{E}(?:is|was|are|=|:|：|would{E}be|should{E}be|must{E}be|equals|(?:is|was|are)n['’]t|"
    rf"(?:cannot|(?:can|could|would|should)n?['’]?t|can{E}not){E}be){E}(?:[:：]{E})?"
)
PHRASES = (
    # English
    rf"\b(?:answers?|(?:final|correct)\s+(?:result|solution|value))"
    rf"(?:\s+(?:to|of|for|choice|option|letter)\b[^.\n:=]{{0,60}}?)?{IS}",
    rf"\bresult\s+is{E}:?",
    rf"\bans{E}[.:=]",
    rf"\b(?:correct|right|best)\s+(?:option|choice|letter|one|statement){IS}",
    rf"\b(?:option|choice){E}[:：]",
    # Chinese and Japanese put no space before the answer.
    r"(?:答案|结果|結果|得数|正解)(?:不?可能|不?应该|不?應該|不?会|不?应|不?應|就|便)?(?:选|選)?"
    r"(?:不是|并非|是|为|為|等于|等於|＝|=|:|：)\s*[:：]?",
    r"【答案】|(?:答案|答|解)\s*[:：]",
    r"(?:故|应|應|所以|因此|我|不)?(?:选择|選擇|选|選)(?:项|項)?(?:是|为|為)?\s*[:：]?",
    r"(?:答え|解答|正解|答)(?:は|が|：|:)\s*[、:：]?",
    # Korean
    r"(?:정답|답안|답|결과)(?:은|는|이|:|：)?\s*[:：]?\s*(?=[-−－]?[\dA-ZＡ-Ｚa-z(（$\\])",
    # German, Dutch, French, Spanish, Portuguese, Italian, Russian, Polish, Turkish, Vietnamese,
    # Indonesian, Arabic, Hindi, Thai, Swahili, Bengali, Telugu
    rf"\b(?:antwort|ergebnis|lösung){E}(?:ist|lautet|beträgt|:){E}:?",
    rf"\bantwoord{E}(?:is|:){E}:?",
    rf"\b(?:réponse|resultat|résultat)(?:\s+(?:finale|correcte))?{E}(?:n['’]est|est|:){E}:?",
    rf"\b(?:respuesta|resultado)(?:\s+(?:final|correcta))?{E}(?:no{E}es|es|:){E}:?",
    rf"\b(?:resposta|resultado)(?:\s+(?:final|correta))?{E}(?:não{E}é|é|:){E}:?",
    rf"\b(?:risposta|risultato)(?:\s+(?:finale|corretta))?{E}(?:non{E}è|è|:){E}:?",
    rf"\b(?:ответ|результат){E}(?::|—|равен|не){E}:?",
    rf"\bodpowied[zź]{E}(?:to|brzmi|:){E}:?",
    rf"\bcevap{E}:",
    rf"đáp (?:án|số)(?:\s+đúng)?{E}(?:không{E}phải|là|:){E}:?",
    rf"\bjawaban(?:nya)?{E}(?:bukan|adalah|:){E}:?",
    r"(?:الجواب|الإجابة)(?:\s+(?:الصحيحة|الصحيح|النهائية|النهائي))?\s*(?:هو|هي|ليس|ليست|:)\s*:?",
    r"उत्तर\s*(?:है|:)\s*:?",
    r"คำตอบ(?:ไม่ใช่|คือ|:|：)\s*:?",
    rf"\bjibu(?:\s+sahihi)?{E}(?:si|ni|:){E}:?",
    r"(?:উত্তর|সমাধান)\s*(?:হলো|হল|:)\s*:?",
    r"సమాధానం\s*:?",
    # A heading alone on its line.
    r"^[#*_ \t]{0,8}(?:final\s+)?answer[*_: \t]{0,8}$",
)
PHRASE_START = re.compile(
    "|".join(f"(?:{phrase})" for phrase in PHRASES), re.IGNORECASE | re.MULTILINE
)
# Characters that are searched for marks, the last ones, and of a sentence after a phrase.
SEARCHED, SENTENCE = 10_000, 2_000
# Letters of all phrases, so that traces of arithmetic are not searched for each of them.
HAS_WORDS = re.compile(r"[^\W\d_]{2}|[答解选選답]")
# “isn't 7”, “not 7”, 7ではない, 7이 아닙니다; “not 6 but 7”.
NEGATED = re.compile(rf"\W*(?:[^\W\d_]{{2,}}\s+)?{NEGATION}", re.IGNORECASE)
NEGATED_AT_END = re.compile(r"[^\n。.]{0,60}?(?:では(?:ない|あり|なく)|じゃな|아[니닙]|değil|नहीं)")
CONTRAST = re.compile(
    rf"[^\n]{{1,80}}?(?:[\s,，]+{BUT}|而是|では?なく|じゃなく|(?:이|가)\s*아니라)\s*", re.IGNORECASE
)
TEXT_AT_START = re.compile(r"\s*\\(?:text|mathrm|mbox)\s*\{([^{}]*(?:is|are|:|=)\s*)\}")
MATH_OPENING = re.compile(r"\s*(?:\$\$|\\\[|```\w*)?\s*")


def answered_text(text: str, settings: Verifier) -> str:
    """The text that may hold the answer: after all reasoning, before an invented question."""
    text = after_thinking(text, _names(settings.thinking))
    text = before_next_question(text, _names(settings.next_question), _has_answer)
    return CONTROL_TOKEN.sub("", text)


def regions(text: str) -> list[Region]:
    """The regions of a text, from the last mark to the first; the text itself if it has none.

    Empty if all that the text has are marks that are not complete or that it rejects.
    """
    text = text[-SEARCHED:]
    if not any(sign in text for sign in "\\#<") and not HAS_WORDS.search(text):
        return [Region("", text)]
    marks = sorted(_marks(text), key=lambda mark: mark[0])[-MOST_MARKS:]
    regions: list[Region] = []
    inside_until = 0
    for start, end, region in marks:
        # “Answer:” inside of a box belongs to the box.
        if start < inside_until:
            continue
        if region.is_whole:
            inside_until = end
        if region.text:
            regions.append(region)
    if regions:
        return regions[::-1]
    has_no_answer = marks or OPEN_BOX.search(text) or OPEN_TAG.search(text)
    return [] if has_no_answer else [Region("", text)]


def without_cue(text: str) -> str:
    """The text of a whole region without a phrase that it begins with, as in “The answer is 42”."""
    if (words := TEXT_AT_START.match(text)) and PHRASE_START.search(words[1]):
        return text[words.end() :]
    match = PHRASE_START.search(text)
    return text[match.end() :] if match and len(text[: match.start()].split()) <= 3 else text


@lru_cache(maxsize=64)
def _names(setting: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in setting.split(",") if name.strip())


def _has_answer(text: str) -> bool:
    """Whether a text answers already: marked, with a number, or in at most three words.

    A text such as “Let me restate it.” does not, so a question that it repeats is read.
    """
    if not (words := text.split(None, 3)):
        return False
    if len(words) <= 3 or re.search(r"\d", text):
        return True
    return any(region.mark for region in regions(text))


def _marks(text: str) -> Iterator[tuple[int, int, Region]]:
    """(start, end, region) of each complete mark; `end` is where the region ends."""
    yield from _boxes(text)
    for match in HASHES_LINE.finditer(text):
        line = _line_or_next(text, match.start("line"))
        if line.strip(" #*_") and not HEADING.match(line):
            yield match.start(), match.start("line"), Region(HASHES, line.strip(), is_whole=True)
    for match in TAGGED.finditer(text):
        inside = match["text"]
        inner = regions(inside)
        # A box or a phrase inside of the tag is the better mark of what the tag holds.
        region = inner[0] if inner and inner[0].mark else Region(TAG, inside.strip(), is_whole=True)
        yield match.start(), match.end(), Region(TAG, region.text, is_whole=region.is_whole)
    for match in JSON_VALUE.finditer(text):
        value = match["string"] if match["bare"] is None else match["bare"]
        yield match.start(), match.end(), Region(TAG, value.strip(), is_whole=True)
    for match in PHRASE_START.finditer(text):
        rest = text[match.end() : match.end() + SENTENCE]
        # The answer may stand on the next line, as formula of its own.
        opening = MATH_OPENING.match(rest)
        rest = rest[opening.end() :] if opening else rest
        if rest:
            yield match.start(), match.end(), _after_phrase(match[0], rest)


def _after_phrase(phrase: str, rest: str) -> Region:
    """The region after a phrase; one without text if its sentence rejects the answer.

    What a rejected answer is followed by counts instead: “not 6 but 7”, “not 6. It is 7”.
    """
    negation = NEGATED.match(rest)
    if not (negation or NEGATED.search(phrase) or NEGATED_AT_END.match(rest)):
        return Region(PHRASE, rest)
    if contrast := CONTRAST.match(rest, negation.end() if negation else 0):
        return Region(PHRASE, rest[contrast.end() :])
    return Region(PHRASE, "")


def _boxes(text: str) -> Iterator[tuple[int, int, Region]]:
    """Complete boxes that are not rejected.

    Neighbours that are joined by “and”, “or” or a comma are one answer.
    """
    start = end = -1
    content = ""
    for box_start, box_end, inside in _single_boxes(text):
        gap = text[end:box_start]
        between = BETWEEN_BOXES.fullmatch(gap) if end >= 0 and len(gap) < 40 else None
        is_out = is_rejected(text[:box_start], text[box_end:])
        if between and content and not is_out:
            content = f"{content} {between['word'] or ','} {inside}"
        else:
            if end >= 0:
                yield start, end, Region(BOX, content, is_whole=True)
            start, content = box_start, "" if is_out else inside
        end = box_end
    if end >= 0:
        yield start, end, Region(BOX, content, is_whole=True)


def _single_boxes(text: str) -> list[tuple[int, int, str]]:
    """(start, end, content) of each complete box that has no other one inside."""
    closing_braces = _closing_braces(text)
    boxes: list[tuple[int, int, str]] = []
    for match in OPEN_BOX.finditer(text):
        # Without braces the box ends with its number or letter.
        closing = match.end() if match["bare"] else closing_braces.get(match.end() - 1, -1)
        if closing < 0:
            continue
        if boxes and match.start() < boxes[-1][1]:
            boxes.pop()
        inside = match["bare"] or text[match.end() : closing]
        boxes.append((match.start(), closing + (not match["bare"]), inside))
    return boxes


def _closing_braces(text: str) -> dict[int, int]:
    """Index of the closing brace by that of its opening one, for all pairs."""
    pairs: dict[int, int] = {}
    open_braces: list[int] = []
    for match in BRACE.finditer(text):
        if match[0] == "{":
            open_braces.append(match.start())
        elif open_braces:
            pairs[open_braces.pop()] = match.start()
    return pairs


def _line_or_next(text: str, start: int) -> str:
    """The rest of the line, or the next line that is not empty."""
    match = re.compile(r"[ \t#]*\n*[ \t]*([^\n]*)").match(text, start)
    return match[1] if match else ""
