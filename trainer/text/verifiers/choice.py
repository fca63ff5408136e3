r"""The chosen letter of a multiple-choice question.

Tried in this order: what `####` or `\boxed{}` marks; the last "answer is (B)" or "Answer: B"; the
last letter in parentheses; the last letter that stands alone. Lower-case letters count only where
they are marked, for "a" is a word.
"""

from __future__ import annotations

import re

from trainer.spec.data import ChoiceVerifier
from trainer.text.verifiers.marks import marked
from trainer.text.verifiers.records import Verdict


class ChoiceJudge:
    """The letter that the completion chooses must be the reference's."""

    def __init__(self, spec: ChoiceVerifier) -> None:
        letters = f"[{spec.choices}]"
        either = f"[{spec.choices}{spec.choices.lower()}]"
        self.alone = re.compile(rf"\W*(?:text|mathrm|textbf)?\W*({either})(?![\w'’])")
        self.patterns = (
            re.compile(
                rf"(?i:answer|option|choice)(?:\s+(?i:is|would\s+be))?\s*[:=]?\s*[(*\"“']*({letters})(?![\w'’])"
            ),
            re.compile(rf"\(({either})\)"),
            re.compile(rf"(?<![\w'’])({letters})(?![\w'’])"),
        )

    def read_reference(self, text: str) -> str:
        return self._letter(text)

    def judge(self, completion: str, reference: str) -> Verdict:
        answer, wanted = self._letter(completion), self._letter(reference)
        return Verdict(answer == wanted if wanted else None, answer)

    def _letter(self, text: str) -> str:
        mark, region = marked(text)
        if mark or len(text.strip(" ().:\n")) == 1:
            found = self.alone.match(region)
            return found[1].upper() if found else ""
        letters = next(
            (letters for pattern in self.patterns if (letters := pattern.findall(region))), [""]
        )
        return str(letters[-1]).upper()
