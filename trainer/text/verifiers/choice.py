r"""The chosen letter of a multiple-choice question: exactly one, or there is none.

The answer is where `answer_regions` says. There the option comes first, `B`, `(B)`, `B. Paris`,
or is the only one of its sentence, “Paris, which is (B)”. Without a mark, the last sentence that
names options must name one. Several, as in “A or C”, are no choice; a rejected one, as in “B, not
A”, does not count. Lower-case letters count only if they are marked, because “a” is a word.
"""

from __future__ import annotations

import re

from trainer.spec import ChoiceVerifier
from trainer.text.verifiers.answer_regions import SEARCHED, answered_text, regions
from trainer.text.verifiers.number_text import plain
from trainer.text.verifiers.records import Verdict
from trainer.text.verifiers.rejections import RETRACTED

WORD = r"A-Za-z0-9_À-ɏ"
# “I choose (B)” marks an answer of this verifier only.
CHOOSES = re.compile(
    r"\b(?:I|we)(?:'d|'ll|\s+would|\s+will)?\s+(?:choose|chose|pick|select|take|go\s+(?:with|for)|"
    r"say|answer)\b\s*:?",
    re.IGNORECASE,
)
LEADING = (
    r"(?:(?i:the|correct|right|best|final|answer|option|choice|letter|statement|clearly|therefore|"
    r"definitely|probably|most\s+likely|likely|is|be|to|选项?|項|项|是|为|為|は)(?![A-Za-z])\W*)*"
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
    r"because|as|in|from|ist|est|es|é|é)\s*$)[A-Za-z]{2,}\s+$",
    re.IGNORECASE,
)
# “C is correct, A is not”, “C, because A is wrong”.
STATES = re.compile(
    r"\W*[A-Z]\W{0,2}(?:,?\s*(?:because|since|as)\b|\s+is\s+(?:the\s+)?"
    r"(?:only\s+)?(?:correct|right|best|true|answer))"
)
SENTENCE_END = re.compile(
    r"(?<![A-Z])(?<!\()[.!?](?=\s|$)|(?<=[A-Z])[.](?=\s*$|\s+[A-Z][a-z])|[。！？]|\n"
)


class ChoiceJudge:
    """The letter that the completion chooses must be the reference's."""

    def __init__(self, spec: ChoiceVerifier) -> None:
        self.spec = spec
        upper, lower = spec.choices, spec.choices.lower()
        option = rf"(?<![{WORD}'’-])(?P<letter>[{upper}])(?![{WORD}'’+]|-\w)"
        self.option = re.compile(option)
        # At the start of a region a lower-case letter is marked, if it stands alone or as `b)`.
        self.start = re.compile(
            rf"\W*{LEADING}(?:(?P<letter>[{upper}])(?![{WORD}'’+]|-\w)"
            rf"|(?P<lower>[{lower}])(?=\W*$|[).:]))"
        )
        self.bracketed = re.compile(rf"[(\[](?P<letter>[{upper}{lower}])[)\]]")
        join = (
            r"(?:[,/&+;|、]|\b(?i:or|and|maybe|perhaps|possibly|oder|und)\b|"
            r"或者?|和|以及|及|と|또는)"
        )
        self.more = re.compile(
            rf"[)\]]*\s+[(\[]?[{upper}][)\]]?(?=\W*$|\s+[(\[]?[{upper}])|[)\]\s.*?!]*(?:{join}\s*)+"
            rf"(?:option|choice|maybe|perhaps|possibly|even|选项)?\s*[(\[]?[{upper}]"
            rf"(?=[)\]]*\s*(?:$|[.,;:)\]、。?!/]|(?:{join})|[^\x00-\x7f]"
            r"|(?:is|are|could|might|as|because)\b))"
        )
        self.anywhere = re.compile(
            rf"\b(?:or|either|maybe|perhaps|possibly)\s+(?:option\s+|choice\s+|even\s+)?[(\[]?"
            rf"[{upper}](?=[)\]]|\W*$|[.,;]|\s+(?:or|and|is|could|might)\b)"
        )
        self.rejected = re.compile(
            rf"(?:\b(?i:not|isn't|is\s+not|rather\s+than|instead\s+of|neither|nor|exclude|eliminate|"
            rf"unlike)\s+(?:option\s+|choice\s+)?|不是|不选)[(\[]?[{upper}](?![{WORD}])[)\]]?"
        )

    def read_reference(self, text: str) -> str:
        found = regions(text)
        return self._whole(found[0].text) if found else ""

    def reference_mark(self, text: str) -> str:
        found = regions(text)
        return found[0].mark if found else ""

    def judge(self, completion: str, reference: str) -> Verdict:
        answer = self._letter(answered_text(completion, self.spec))
        expected = self.read_reference(reference)
        return Verdict(answer == expected if expected else None, answer)

    def _letter(self, text: str) -> str:
        text = text[-SEARCHED:]
        choosing = list(CHOOSES.finditer(text))
        for region in regions(text):
            if not region.mark:
                break
            if region.is_whole:
                return self._whole(region.text)
            if choosing and len(text) - choosing[-1].end() < len(region.text):
                return self._sentence(text[choosing[-1].end() :])
            if self._names_option(region.text):
                return self._sentence(region.text)
        else:
            if not regions(text):
                return ""
        if choosing:
            return self._sentence(text[choosing[-1].end() :])
        return self._last(text)

    def _names_option(self, text: str) -> bool:
        sentence = _first_sentence(plain(text))
        return bool(self.start.match(sentence) or self.option.search(sentence))

    def _whole(self, text: str) -> str:
        text = self.rejected.sub(" ", plain(text).strip())
        match = self.start.match(text)
        if not match or self._is_article(text, match):
            return self._only(text)
        rest = text[match.end() :]
        if self.more.match(rest) or self.anywhere.search(rest):
            return ""
        return (match["letter"] or match["lower"]).upper()

    def _sentence(self, text: str) -> str:
        text = plain(text)
        sentence = _first_sentence(text)
        rest = text[len(sentence) :]
        retraction = RETRACTED.search(rest)
        if retraction and self.option.search(rest[retraction.end() :]):
            return ""
        sentence = self.rejected.sub(" ", sentence)
        match = self.start.match(sentence)
        if not match or match["lower"] or self._is_article(sentence, match):
            marked = re.match(r"\W*$|[).:]", sentence[match.end() :]) if match else None
            if match and match["lower"] and marked:
                return match["lower"].upper()
            return self._only(sentence)
        rest = sentence[match.end() :]
        if self.more.match(rest) or self.anywhere.search(rest):
            return ""
        return str(match["letter"])

    def _last(self, text: str) -> str:
        """The option of a text without mark: of the last sentence that names one."""
        text = plain(text).strip()
        if len(text.split()) <= 3 and (letter := self._whole(text)):
            return letter
        for sentence in reversed(SENTENCE_END.split(text)):
            sentence = self.rejected.sub(" ", sentence)
            if STATES.match(sentence) and (match := self.start.match(sentence)):
                return match["letter"] or ""
            if self._options(sentence):
                return self._only(sentence)
        return ""

    def _only(self, text: str) -> str:
        """The option of a text that names exactly one."""
        letters = self._options(text)
        if len(letters) != 1:
            return ""
        # `Vitamin C` alone names no option, but counts beside another.
        is_named = all(NAMING.search(text[: match.start()]) for match in self.option.finditer(text))
        bracketed = self.bracketed.search(text)
        return "" if is_named and not bracketed else letters.pop()

    def _options(self, text: str) -> set[str]:
        bracketed = {match["letter"].upper() for match in self.bracketed.finditer(text)}
        return bracketed | {
            match["letter"]
            for match in self.option.finditer(text)
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
