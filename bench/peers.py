"""The baseline: sampling with transformers alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from trainer.text.language.models import LanguageModel
from trainer.text.rollouts.records import SampleRequest

Rows = list[tuple[tuple[int, ...], tuple[int, ...]]]


def generate(
    language_model: LanguageModel, requests: Sequence[SampleRequest], new_tokens: int, batch: int
) -> Rows:
    """transformers' `generate` at temperature 1, on left-padded prompts of similar length."""
    network: Any = language_model.model
    prompts = sorted((request.prompt for request in requests for _ in request.samples), key=len)
    rows: Rows = []
    for start in range(0, len(prompts), batch):
        group = prompts[start : start + batch]
        ids, mask = padded(group, pad_left=True)
        with torch.inference_mode():
            answers = network.generate(
                input_ids=ids,
                attention_mask=mask,
                do_sample=True,
                temperature=1.0,
                top_k=0,
                top_p=1.0,
                max_new_tokens=new_tokens,
                eos_token_id=list(language_model.eos_ids),
                pad_token_id=language_model.eos_ids[0],
            )[:, ids.shape[1] :].tolist()
        for prompt, answer in zip(group, answers, strict=True):
            # `generate` pads finished answers to the longest; what follows the end token is cut.
            ends = (index + 1 for index, id in enumerate(answer) if id in language_model.eos_ids)
            rows.append((prompt, tuple(answer[: next(ends, len(answer))])))
    return rows


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
