"""Proof that a server's scores are what they should be, from its scores of the fixed texts.

A server that reads texts from left to right at temperature 1 scores a text alike each time, alone
and with others; a token's score depends on all tokens before it and on none behind it. Servers,
their caches and the programs around them break each of these rules without an error. What no rule
finds, such as another temperature, a comparison with the same weights finds.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from trainer.text.language.heads import Head
from trainer.text.language.text_models import TextModel
from trainer.text.objectives.divergences import log_softmax
from trainer.text.teachers.served.client import Ask
from trainer.text.teachers.served.fingerprints import Fingerprint, distance, numbers_of
from trainer.text.teachers.served.fixed_texts import FixedText, FixedTexts
from trainer.text.teachers.served.scores import NO_ID, Scores, SignalFault

# Log-probs of a temperature near 0: this likely, or this unlikely.
CERTAIN, IMPOSSIBLE = -1e-6, -1e3
# So many written tokens of one text with the same small log-prob show a limit of log-probs.
MOST_EQUAL, SMALL = 3, -1.0
# Share of tokens whose text the server must write as the local tokenizer does.
SAME_TEXTS = 0.8


@dataclass(frozen=True)
class Proof:
    """What the scores of a server are proven with; `head` where it gives hidden states."""

    language_model: TextModel
    texts: FixedTexts
    tolerance: float
    head: Head | None = None

    async def fingerprint(self, ask: Ask) -> Fingerprint:
        """Score the fixed texts and return their fingerprint.

        Raises SignalFault for scores that break a rule, and what `ask` raises.
        """
        await self._require_same_again(ask)
        alone = [await ask(text.ids, text.start) for text in self.texts.all]
        together = await asyncio.gather(*(ask(text.ids, text.start) for text in self.texts.all))
        for text, first, second in zip(self.texts.all, alone, together, strict=True):
            if self._differ(text, first, second):
                raise SignalFault(
                    f"scores a {text.name} otherwise when other texts are asked for at the same "
                    "time; its scores depend on the other texts of a batch"
                )
        by_text = dict(zip(self.texts.all, alone, strict=True))
        self._require_rules(by_text)
        return Fingerprint(
            {text.name: self._numbers(text, scores) for text, scores in by_text.items()}
        )

    def logprobs(self, text: FixedText, scores: Scores) -> Tensor:
        """Return the log-probs of the written tokens, [T]; of hidden states by the local head."""
        if scores.hidden is None or self.head is None:
            return scores.written
        logits = self.head.logits(
            scores.hidden.to(self.head.weight.device), self.language_model.vocabulary
        )
        ids = torch.tensor(text.answer, device=logits.device)
        return log_softmax(logits, 1.0).gather(1, ids[:, None])[:, 0].cpu()

    def _numbers(self, text: FixedText, scores: Scores) -> Tensor:
        written = self.logprobs(text, scores)
        if scores.ids is None or scores.logprobs is None:
            return numbers_of(written)
        return numbers_of(written, scores.logprobs.masked_fill(scores.ids == NO_ID, -torch.inf))

    def _differ(self, text: FixedText, first: Scores, second: Scores) -> bool:
        difference = distance(self.logprobs(text, first), self.logprobs(text, second))
        return float(difference.mean()) > self.tolerance

    async def _require_same_again(self, ask: Ask) -> None:
        """A text that was never scored before is scored twice, the second time from a cache."""
        ids = list(self.texts.long.ids)
        # Not the run's generator: no cache may know this text.
        random.shuffle(ids)
        text = FixedText("new text", tuple(ids), self.texts.long.start)
        first, second = await ask(text.ids, text.start), await ask(text.ids, text.start)
        if self._differ(text, first, second):
            raise SignalFault(
                "scores a text otherwise the second time; its prefix cache gives wrong scores: "
                "turn it off, for vLLM by --no-enable-prefix-caching"
            )

    def _require_rules(self, by_text: dict[FixedText, Scores]) -> None:
        written = {text: self.logprobs(text, scores) for text, scores in by_text.items()}
        for text, scores in by_text.items():
            if scores.hidden is not None and self._differ(text, scores, Scores(scores.written)):
                raise SignalFault(
                    f"gives hidden states of a {text.name} that mean other log-probs, by the head "
                    "of gives.head, than its own; name the head of the server's model"
                )
        self._require_temperature([*written.values()])
        self._require_unlimited(written)
        short, changed = written[self.texts.short], written[self.texts.changed]
        if torch.equal(short, written[self.texts.privileged]):
            raise SignalFault(
                "scores an answer alike after two different prompts; it does not read the whole "
                "prompt, so a privileged text would be ignored"
            )
        if float(distance(short[:-1], changed[:-1]).mean()) > self.tolerance:
            raise SignalFault(
                "scores a token by the token behind it; its scores are shifted by one"
            )
        for text in (self.texts.one_token, self.texts.short):
            begin_T = written[self.texts.long][: len(text.answer)]
            if float(distance(written[text], begin_T).mean()) > self.tolerance:
                raise SignalFault(
                    f"scores the tokens of a {text.name} otherwise than in a longer answer that "
                    "begins with them"
                )
        if torch.equal(short[-1], changed[-1]):
            raise SignalFault(
                "scores two different last tokens alike; its scores are shifted by one, or the "
                "last one is that of another token"
            )
        self._require_tokenizer(by_text)

    def _require_temperature(self, written: Sequence[Tensor]) -> None:
        all_T = torch.cat([*written])
        if bool(((all_T >= CERTAIN) | (all_T <= IMPOSSIBLE)).all()):
            raise SignalFault(
                "gives every token the probability 0 or 1; it divides logits by a temperature near "
                "0, where 1 is needed"
            )

    def _require_unlimited(self, written: dict[FixedText, Tensor]) -> None:
        for text, row in written.items():
            unlikely = sorted(value for value in row.tolist() if value < SMALL)
            longest = max((len([*run]) for _, run in itertools.groupby(unlikely)), default=0)
            if longest >= MOST_EQUAL:
                raise SignalFault(
                    f"gives {longest} tokens of a {text.name} exactly the same log-prob, "
                    f"{unlikely[0]:.3f}; it limits log-probs, and what is cut off is unknown"
                )

    def _require_tokenizer(self, by_text: dict[FixedText, Scores]) -> None:
        """Compare the tokens' texts that a server adds to its scores with the local tokenizer's."""
        # Some programs leave out the texts of special tokens.
        pairs = [
            (id, text.strip())
            for fixed, scores in by_text.items()
            for id, text in zip(fixed.answer, scores.texts, strict=False)
            if text and text.strip()
        ]
        decoded = [(self._text(id), text) for id, text in pairs]
        # Programs write bytes of characters in different ways.
        plain = [pair for pair in decoded if pair[0].isascii() and pair[0].isprintable()]
        same = sum(own == text for own, text in plain)
        if same < SAME_TEXTS * len(plain):
            own, text = next(pair for pair in plain if pair[0] != pair[1])
            raise SignalFault(
                f"writes a token as “{text[:20]}” that is “{own[:20]}” in the local tokenizer; it "
                "has another tokenizer"
            )

    def _text(self, id: int) -> str:
        return str(self.language_model.tokenizer.decode([id])).strip()
