r"""The chosen letter of a multiple-choice question: exactly one, or there is none.

The answer is where `answer_regions` says. There the option comes first, `B`, `(B)`, `B. Paris`,
or is the only one of its sentence, “Paris, which is (B)”. Without a mark, the last sentence that
names options must name one. Several, as in “A or C”, are no choice; a rejected one, as in “B, not
A”, does not count, and one that is both chosen and rejected is none. Lower-case letters count only
if they are marked, because “a” is a word.
"""

from __future__ import annotations

import re

from trainer.spec import ChoiceVerifier
from trainer.text.verifiers.answer_regions import SEARCHED, answered_text, regions
from trainer.text.verifiers.number_text import plain
from trainer.text.verifiers.option_patterns import OptionPatterns
from trainer.text.verifiers.records import Verdict
from trainer.text.verifiers.rejections import after_retraction

# “I choose (B)” marks an answer of this verifier only.
CHOOSES = re.compile(
    r"\b(?:I|we)(?:'d|'ll|\s+would|\s+will)?\s+(?:choose|chose|pick|select|take|go\s+(?:with|for)|"
    r"say|answer)\b\s*:?",
    re.IGNORECASE,
)
# `A` and `I` are words where a word follows that does not go on from an answer.
ARTICLE = re.compile(
    r"\s+(?!(?:because|since|as|is|are|was|for|due|which|that|given|and|or|if|so|but|not|would|will|"
    r"has|appears|seems|by|with|from|on|in|only|rather|instead)\b)[a-z]"
)
# `Vitamin C`, `Plan B`: a word before a letter, unless it introduces an option.
NAMING = re.compile(
    r"(?<![A-Za-z])(?!(?:is|are|be|was|options?|choices?|letters?|answers?|statements?|so|thus|hence|then|"
    r"therefore|choose|pick|select|take|say|with|for|to|and|or|both|either|of|between|than|"
    r"neither|nor|maybe|perhaps|only|but|that|think|believe|guess|it's|clearly|while|since|"
    r"because|as|in|from|ist|est|es|é|la|le|die|der|das|el|het|lettre|letra|no|leaves?|leaving|remains|"
    r"matches|fits|cevap|antwort|réponse|respuesta|resposta|risposta)\s*$)[A-Za-z]{2,}\s+$"
    # `25 C`
    r"|\d\s+$",
    re.IGNORECASE,
)
# “C is correct, A is not”, “C, because A is wrong”.
STATES = re.compile(
    r"\W*[A-Z]\W{0,2}(?:,?\s*(?:because|since|as(?!\s+well))\b|\s+is\s+(?:the\s+)?"
    r"(?:only\s+)?(?:correct|right|best|true|answer))"
)
SENTENCE_END = re.compile(
    r"(?<![A-Z])(?<!\()[.!?](?=\s|$)|(?<=[A-Z])[.](?=\s*$|\s+[A-Z][a-z])|[。！？]|\n"
)
# A text of at most so many words is an option as a whole.
MOST_WORDS = 3


class ChoiceJudge:
    """The letter that the completion chooses must be the reference's."""

    def __init__(self, spec: ChoiceVerifier) -> None:
        self.spec = spec
        self.patterns = OptionPatterns(spec.choices)

    def read_reference(self, text: str) -> str:
        all_regions = regions(text)
        return self._leading(all_regions[0].text) if all_regions else ""

    def reference_mark(self, text: str) -> str:
        all_regions = regions(text)
        return all_regions[0].mark if all_regions else ""

    def judge(self, completion: str, reference: str) -> Verdict:
        answer = self._letter(answered_text(completion, self.spec))
        expected = self.read_reference(reference)
        return Verdict(answer == expected if expected else None, answer)

    def _letter(self, text: str) -> str:
        text = text[-SEARCHED:]
        if not (all_regions := regions(text)):
            return ""
        choosing = [
            match for match in CHOOSES.finditer(text) if self._names_option(text[match.end() :])
        ]
        for region in all_regions:
            if not region.mark:
                text = region.text
                break
            if region.is_whole:
                return self._leading(region.text)
            if choosing and len(text) - choosing[-1].end() < len(region.text):
                return self._of_sentence(text[choosing[-1].end() :])
            if self._names_option(region.text):
                return self._of_sentence(region.text)
        if choosing:
            return self._of_sentence(text[choosing[-1].end() :])
        return self._of_last_sentence(text)

    def _names_option(self, text: str) -> bool:
        sentence = _first_sentence(plain(text))
        return bool(self.patterns.start.match(sentence) or self.patterns.option.search(sentence))

    def _leading(self, text: str) -> str:
        """The option that a text begins with, else the only one that it names."""
        text = plain(text).strip()
        if corrected := self._corrected(text):
            return self._of_last_sentence(corrected)
        remaining, rejected = self._without_rejected(text)
        match = self.patterns.start.match(remaining)
        if not match or self._is_article(remaining, match):
            return self._only(remaining, rejected)
        rest = remaining[match.end() :]
        if self.patterns.more.match(rest) or self.patterns.anywhere.search(rest):
            return ""
        letter = (match["letter"] or match["lower"]).upper()
        return "" if letter in rejected else letter

    def _of_sentence(self, text: str) -> str:
        """The option of the sentence that a text begins with, unless it is retracted later."""
        text = plain(text)
        if corrected := self._corrected(text):
            return self._of_last_sentence(corrected)
        return self._leading(_first_sentence(text))

    def _of_last_sentence(self, text: str) -> str:
        """The option of a text without mark: of the last sentence that names one."""
        text = plain(text).strip()
        if corrected := self._corrected(text):
            text = corrected
        if len(text.split()) <= MOST_WORDS:
            return self._leading(text)
        if letter := self._first_line(text):
            return letter
        for sentence in reversed(SENTENCE_END.split(text)):
            remaining, rejected = self._without_rejected(sentence)
            if STATES.match(remaining) and (match := self.patterns.start.match(remaining)):
                return match["letter"] or ""
            if self._options(remaining):
                return self._only(remaining, rejected)
        return ""

    def _first_line(self, text: str) -> str:
        """The option that alone is the first line, before an explanation; not of a list."""
        lines = [self.patterns.line.fullmatch(line) for line in text.split("\n")]
        letters = [match["letter"].upper() for match in lines if match]
        return letters[0] if lines[0] and len(letters) == 1 else ""

    def _corrected(self, text: str) -> str:
        """What follows the last word such as “wait” before an option; "" without such a word."""
        matches = (*self.patterns.option.finditer(text), *self.patterns.bracketed.finditer(text))
        last = max(
            (match.start() for match in matches if not self._is_article(text, match)), default=0
        )
        return after_retraction(text, last)

    def _without_rejected(self, text: str) -> tuple[str, set[str]]:
        """The text without the options that it rejects, and their letters."""
        rejected = [match[0] for match in self.patterns.rejected.finditer(text)]
        letters = {letter for match in rejected for letter in self._letters_in(match)}
        return self.patterns.rejected.sub(" ", text) if rejected else text, letters

    def _letters_in(self, text: str) -> list[str]:
        return [match["letter"] for match in self.patterns.option.finditer(text)]

    def _only(self, text: str, rejected: set[str]) -> str:
        """The option of a text that names exactly one."""
        letters = self._options(text)
        if len(letters) != 1 or letters & rejected:
            return ""
        if any(
            self.patterns.more.match(text[match.end() :])
            for match in self.patterns.option.finditer(text)
        ):
            return ""
        # `Vitamin C` alone names no option, but counts beside another.
        is_named = all(
            NAMING.search(text[: match.start()]) for match in self.patterns.option.finditer(text)
        )
        bracketed = self.patterns.bracketed.search(text)
        return "" if is_named and not bracketed else letters.pop()

    def _options(self, text: str) -> set[str]:
        bracketed = {match["letter"].upper() for match in self.patterns.bracketed.finditer(text)}
        return bracketed | {
            match["letter"]
            for match in self.patterns.option.finditer(text)
            if not self._is_article(text, match)
        }

    @staticmethod
    def _is_article(text: str, match: re.Match[str]) -> bool:
        letter = match["letter"] or ""
        return letter in ("A", "I") and bool(ARTICLE.match(text[match.end() :]))


def _first_sentence(text: str) -> str:
    text = text.lstrip()
    end = SENTENCE_END.search(text, 1)
    return text[: end.start()] if end else text
