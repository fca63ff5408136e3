"""The fallback for networks without `Decoder` support: transformers' `generate` with our sampling.

A logits processor samples each token from the keyed noise and forbids all others, so answers have
the same distribution, noise and records as with the batched sampler. Finished rows stay in the
batch until all are done, and each answer reads its prompt again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessor

from trainer.spec.sampling import Sampling
from trainer.text.language.models import LanguageModel
from trainer.text.rollouts.engines.noise import Noise, rollout_keys, uniforms
from trainer.text.rollouts.engines.token_choice import choose
from trainer.text.rollouts.engines.transcript import Transcript
from trainer.text.rollouts.records import SampleRequest, Source, Trajectory


class KeyedChoice(LogitsProcessor):
    """Samples each row's token by its key and forbids all others; `transcript` records them."""

    def __init__(
        self, keys: NDArray[np.uint64], offset: int, vocabulary: int, sampling: Sampling
    ) -> None:
        self.keys, self.offset = keys, offset
        self.vocabulary, self.sampling = vocabulary, sampling
        self.transcript = Transcript()
        self.transcript.extend(len(keys))
        self.all_rows: NDArray[np.bool_] = np.ones(len(keys), dtype=np.bool_)

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        positions = self.transcript.lengths + self.offset
        numbers = torch.from_numpy(uniforms(self.keys, positions)).to(scores.device)
        choice = choose(scores[:, : self.vocabulary], numbers, self.sampling)
        self.transcript.append(choice, self.all_rows)
        return torch.full_like(scores, -torch.inf).scatter_(1, choice.ids[:, None], 0.0)


@torch.no_grad()
def write(
    language_model: LanguageModel,
    requests: Sequence[SampleRequest],
    sampling: Sampling,
    noise: Noise,
    rows: int,
    source: Source,
) -> Iterator[Trajectory]:
    """Answers in the order of prompt lengths, longest first; `rows` of them side by side."""
    answers = [(request, sample) for request in requests for sample in request.samples]
    answers.sort(key=lambda answer: -len(answer[0].prompt))
    for start in range(0, len(answers), rows):
        yield from _batch(language_model, answers[start : start + rows], sampling, noise, source)


def _batch(
    language_model: LanguageModel,
    answers: list[tuple[SampleRequest, int]],
    sampling: Sampling,
    noise: Noise,
    source: Source,
) -> Iterator[Trajectory]:
    keys = rollout_keys(noise, ((request.problem, sample) for request, sample in answers))
    keyed_choice = KeyedChoice(keys, noise.offset, language_model.vocabulary, sampling)
    ids, mask = _left_padded([request.prompt for request, _ in answers], language_model.device)
    model: Any = language_model.model
    # The model's own sampling defaults (penalties, temperature) would change the logits before
    # `keyed_choice` sees them.
    own_config, model.generation_config = model.generation_config, GenerationConfig()
    try:
        model.generate(
            input_ids=ids,
            attention_mask=mask,
            logits_processor=[keyed_choice],
            # Greedy search takes the one token that `keyed_choice` leaves possible.
            do_sample=False,
            max_new_tokens=sampling.max_new_tokens,
            eos_token_id=list(language_model.eos_ids),
            pad_token_id=language_model.eos_ids[0],
        )
    finally:
        model.generation_config = own_config
    eos_ids = np.array(language_model.eos_ids)
    for row, (request, sample) in enumerate(answers):
        # Finished rows go on sampling until the whole batch is done; their rest is cut here.
        stops = np.flatnonzero(
            np.isin(
                keyed_choice.transcript.ids[row, : keyed_choice.transcript.lengths[row]], eos_ids
            )
        )
        if len(stops):
            keyed_choice.transcript.lengths[row] = stops[0] + 1
        segment = keyed_choice.transcript.segment(row, source)
        yield Trajectory(
            request.problem, sample, request.prompt, (segment,), truncated=not len(stops)
        )


def _left_padded(prompts: Sequence[tuple[int, ...]], device: torch.device) -> tuple[Tensor, Tensor]:
    """Ids and mask [N, T], the prompts ending in the last column."""
    # Padding is on the left, because `generate` appends to the right of every row.
    longest = max(len(prompt) for prompt in prompts)
    ids = torch.zeros(len(prompts), longest, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, longest - len(prompt) :] = torch.tensor(prompt)
        mask[row, longest - len(prompt) :] = 1
    return ids.to(device), mask.to(device)
