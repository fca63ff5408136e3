"""The baseline: sampling with transformers alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import StoppingCriteria, StoppingCriteriaList

from trainer.text.language.models import LanguageModel
from trainer.text.rollouts.records import SampleRequest

Rows = list[tuple[tuple[int, ...], tuple[int, ...]]]


def generate(
    language_model: LanguageModel, requests: Sequence[SampleRequest], new_tokens: int, batch: int
) -> Rows:
    """transformers' `generate` at temperature 1, on left-padded prompts of similar length.

    Answers end at the allowance of their request, if it has one.
    """
    network: Any = language_model.model
    answers_asked = sorted(
        (
            (request.prompt, request.allowance or new_tokens)
            for request in requests
            for _ in request.samples
        ),
        key=lambda answer: len(answer[0]),
    )
    # Not the end tokens of its own configuration, which a model without any would fall back to.
    network.generation_config.eos_token_id = list(language_model.eos_ids) or None
    rows: Rows = []
    for start in range(0, len(answers_asked), batch):
        group = answers_asked[start : start + batch]
        ids, mask = padded([prompt for prompt, _ in group], pad_left=True)
        ends = torch.tensor([allowance for _, allowance in group]) + ids.shape[1]
        with torch.inference_mode():
            answers = network.generate(
                input_ids=ids,
                attention_mask=mask,
                do_sample=True,
                temperature=1.0,
                top_k=0,
                top_p=1.0,
                max_new_tokens=new_tokens,
                eos_token_id=list(language_model.eos_ids) or None,
                pad_token_id=0,
                stopping_criteria=StoppingCriteriaList([AtLengths(ends)]),
            )[:, ids.shape[1] :].tolist()
        for (prompt, allowance), answer in zip(group, answers, strict=True):
            # `generate` pads finished answers to the longest; what follows the end token is cut.
            stops = (index + 1 for index, id in enumerate(answer) if id in language_model.eos_ids)
            rows.append((prompt, tuple(answer[: min(next(stops, allowance), allowance)])))
    return rows


class AtLengths(StoppingCriteria):
    """Ends each row at its own length [N]."""

    def __init__(self, lengths: Tensor) -> None:
        self.lengths = lengths

    def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:
        return self.lengths <= input_ids.shape[1]


def padded(prompts: Sequence[tuple[int, ...]], *, pad_left: bool) -> tuple[Tensor, Tensor]:
    """Ids and attention mask [N, T]."""
    longest = max(len(prompt) for prompt in prompts)
    ids = torch.zeros(len(prompts), longest, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        columns = slice(longest - len(prompt), longest) if pad_left else slice(0, len(prompt))
        ids[row, columns] = torch.tensor(prompt)
        mask[row, columns] = 1
    return ids, mask
