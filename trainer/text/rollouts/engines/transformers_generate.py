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
from trainer.text.rollouts.records import Progress, SampleRequest, Segment, Source, Trajectory


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
    version: int = 0,
    progress: Progress | None = None,
) -> list[list[Trajectory]]:
    """The answers to each request; those to long prompts are written first, `rows` at a time."""
    answers = [
        (index, request, sample)
        for index, request in enumerate(requests)
        for sample in request.samples
    ]
    answers.sort(key=lambda answer: -len(answer[1].prompt))
    written: dict[tuple[int, int], Trajectory] = {}
    for start in range(0, len(answers), rows):
        batch = answers[start : start + rows]
        rollouts = [(request, sample) for _, request, sample in batch]
        segments = _batch(language_model, rollouts, sampling, noise, source, version)
        for (index, request, sample), segment in zip(batch, segments, strict=True):
            truncated = segment.ids[-1] not in language_model.eos_ids
            written[index, sample] = request.answered(sample, (segment,), truncated)
            if progress:
                progress(len(written), len(answers))
    return [
        [written[index, sample] for sample in request.samples]
        for index, request in enumerate(requests)
    ]


def _batch(
    language_model: LanguageModel,
    answers: list[tuple[SampleRequest, int]],
    sampling: Sampling,
    noise: Noise,
    source: Source,
    version: int,
) -> Iterator[Segment]:
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
    lines = keyed_choice.transcript
    eos_ids = np.array(language_model.eos_ids)
    for row in range(len(answers)):
        # Finished rows go on sampling until the whole batch is done; their rest is cut here.
        stops = np.flatnonzero(np.isin(lines.ids[row, : lines.lengths[row]], eos_ids))
        if len(stops):
            lines.lengths[row] = stops[0] + 1
        yield lines.segment(row, source, version)


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
