"""Equal text, except for white space, after reasoning and before an invented question."""

from __future__ import annotations

import unicodedata

from trainer.spec import ExactVerifier
from trainer.text.verifiers.answer_regions import answered_text
from trainer.text.verifiers.records import Verdict, clean


class ExactJudge:
    """The whole completion, or the text after the last `after`, must equal the reference."""

    def __init__(self, spec: ExactVerifier) -> None:
        self.spec = spec

    def read_reference(self, text: str) -> str:
        _, mark, tail = text.rpartition(self.spec.after) if self.spec.after else ("", "", text)
        return " ".join((tail if mark else text).split())

    def reference_mark(self, text: str) -> str:
        return self.spec.after if self.spec.after and self.spec.after in text else ""

    def judge(self, completion: str, reference: str) -> Verdict:
        completion = answered_text(completion, self.spec)
        # Without the mark a completion has no answer; a reference may be the answer alone.
        has_answer = not self.spec.after or self.spec.after in completion
        answer = self.read_reference(completion) if has_answer else ""
        expected = self.read_reference(reference)
        return Verdict(
            self._form(answer) == self._form(expected) if expected else None, clean(answer)
        )

    def _form(self, text: str) -> str:
        text = unicodedata.normalize("NFC", text)
        return text.casefold() if self.spec.ignore_case else text
