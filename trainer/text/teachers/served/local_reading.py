"""The fixed texts as the same weights read them here, and what explains a server's other scores.

Shapes: T tokens of a text, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from trainer.spec.network import Network
from trainer.text.language.heads import head_of
from trainer.text.language.hidden_states import response_hidden
from trainer.text.language.models import LanguageModel, load
from trainer.text.objectives.divergences import log_softmax
from trainer.text.teachers.served.fingerprints import Fingerprint, distance, numbers_of
from trainer.text.teachers.served.fixed_texts import FixedText, FixedTexts

TEMPERATURES = (0.5, 0.6, 0.7, 0.8, 0.9, 1.1, 1.25, 1.5, 2.0)


@dataclass(frozen=True)
class LocalReading:
    """Logits [T, V] of the fixed texts by the weights that the server should have."""

    texts: FixedTexts
    logits: dict[str, Tensor]

    def fingerprint(self, k: int) -> Fingerprint:
        """Return what a server with these weights gives; `k` likeliest ids, or none with 0."""
        numbers = {}
        for text in self.texts.all:
            log_TV = log_softmax(self.logits[text.name], 1.0)
            likeliest = log_TV.topk(min(k, log_TV.shape[-1])).values if k else None
            numbers[text.name] = numbers_of(_written(log_TV, text), likeliest)
        return Fingerprint(numbers)

    def explain(self, found: Fingerprint, tolerance: float) -> str:
        """Say what makes a server's fingerprint another one than that of these weights."""
        written = {
            text.name: found.numbers[text.name][: len(text.answer)] for text in self.texts.all
        }
        long = written[self.texts.long.name]
        expected = self._at(self.texts.long, 1.0)
        for one, other in ((long[:-1], expected[1:]), (long[1:], expected[:-1])):
            if float(distance(one, other).mean()) <= tolerance:
                return "its scores are shifted by one"
        for temperature in TEMPERATURES:
            if float(distance(long, self._at(self.texts.long, temperature)).mean()) <= tolerance:
                return f"it divides logits by a temperature, about {temperature:g}; it must be 1"
        different = [
            text.name
            for text in self.texts.all
            if float(distance(written[text.name], self._at(text, 1.0)).mean()) > tolerance
        ]
        if 0 < len(different) < len(self.texts.all):
            return f"the texts with other scores are: {', '.join(different)}"
        return "it has other weights"

    def _at(self, text: FixedText, temperature: float) -> Tensor:
        return _written(log_softmax(self.logits[text.name], temperature), text)


@torch.no_grad()
def read_locally(model: str, texts: FixedTexts) -> LocalReading:
    """Load a model on the CPU, read the texts and forget it. Raises ModelError."""
    loaded: LanguageModel = load(Network(model=model), frozen=True)
    head = head_of(loaded.model)
    return LocalReading(
        texts,
        {
            text.name: head.logits(
                response_hidden(loaded, [(text.ids[: text.start], text.answer)]), loaded.vocabulary
            ).float()
            for text in texts.all
        },
    )


def _written(log_TV: Tensor, text: FixedText) -> Tensor:
    return log_TV.gather(1, torch.tensor(text.answer)[:, None])[:, 0]
