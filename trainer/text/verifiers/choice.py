r"""The chosen letter of a multiple-choice question.

Tried in this order: the text after `####` or in `\boxed{}`; the last "answer is (B)" or "Answer:
B"; the last letter in parentheses; the last separate letter. Lower-case letters count only if they
are marked, because "a" is a word.
"""

from __future__ import annotations

import re

from trainer.spec import ChoiceVerifier
from trainer.text.verifiers.answer_marks import marked
from trainer.text.verifiers.records import Verdict


class ChoiceJudge:
    """The letter that the completion chooses must be the reference's."""

    def __init__(self, spec: ChoiceVerifier) -> None:
        # No word character or apostrophe may follow a letter: the I of `I'm` is no choice.
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
        answer, reference_letter = self._letter(completion), self._letter(reference)
        return Verdict(answer == reference_letter if reference_letter else None, answer)

    def _letter(self, text: str) -> str:
        mark, region = marked(text)
        if mark or len(text.strip(" ().:\n")) == 1:
            match = self.alone.match(region)
            return match[1].upper() if match else ""
        letters = next(
            (letters for pattern in self.patterns if (letters := pattern.findall(region))), [""]
        )
        return str(letters[-1]).upper()
