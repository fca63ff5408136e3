"""Answers sampled by the trainer itself, from any network that it can load."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from trainer.engine.distributed.world import World
from trainer.spec.controllers.controller import Ability
from trainer.spec.sampling import Sampling
from trainer.text.language.models import LanguageModel
from trainer.text.rollouts import streaming
from trainer.text.rollouts.engines import decoder, transformers_generate
from trainer.text.rollouts.engines.batched_sampler import SamplingBatch
from trainer.text.rollouts.engines.in_process_stream import InProcessStream
from trainer.text.rollouts.engines.noise import Noise
from trainer.text.rollouts.engines.whole_answers import WholeAnswerStream
from trainer.text.rollouts.records import Progress, SampleRequest, Source, Trajectory
from trainer.text.rollouts.streaming import Measures, Stream, UnableEngine

ALL_ABILITIES = frozenset[Ability](("step", "abort", "forced", "fork", "score", "entropy", "top"))


def slow_sampling_note(language_model: LanguageModel) -> str:
    """Return why a network's answers are sampled by transformers' `generate`, or "" if not."""
    reason = decoder.unsupported(language_model)
    if reason is None:
        return ""
    return (
        f"Answers of {language_model.name} are sampled by transformers' generate, which is several "
        f"times slower than the trainer's own sampler, because {reason}."
    )


def sample(
    language_model: LanguageModel,
    requests: Sequence[SampleRequest],
    sampling: Sampling,
    noise: Noise,
    *,
    rows: int = 256,
    source: Source = "student",
    progress: Progress | None = None,
) -> list[Trajectory]:
    """Sample the requested answers, in the order of `requests` and then of their samples.

    At most `rows` answers are in progress together. `progress(done, of)` is called as answers
    finish and may raise to cancel. An answer depends only on model, prompt, sampling, noise,
    problem id and rollout index, not on the other answers of its batch.
    """
    stream = open_stream(language_model, sampling, noise, rows, source=source)
    handles = stream.submit(requests)
    ended = stream.finish(progress)
    return [ended[handle] for handle in handles]


def open_stream(
    language_model: LanguageModel,
    sampling: Sampling,
    noise: Noise,
    rows: int,
    *,
    source: Source = "student",
    version: int = 0,
    measures: Measures | None = None,
    world: World | None = None,
) -> Stream:
    """A stream of answers by weights of that version, `rows` side by side in each process."""
    measures, world = measures or Measures(), world or World()
    if decoder.unsupported(language_model) is None:
        batch = SamplingBatch(language_model, sampling, noise, rows, source, version, measures.top)
        return InProcessStream(batch, measures, world)

    def write(
        requests: Sequence[SampleRequest], law: Sampling, noise: Noise, progress: Progress | None
    ) -> list[Trajectory]:
        own = transformers_generate.write(
            language_model, world.divide(requests), law, noise, rows, source, version, progress
        )
        return [answer for answers in world.gather(own) for answer in answers]

    who = f"transformers' generate, which samples {language_model.name},"
    if measures != Measures():
        raise UnableEngine(f"{who} reports neither entropies nor likely tokens while it writes.")
    return WholeAnswerStream(write, sampling, noise, who)


@dataclass
class InProcessEngine:
    """The engine that samples with the weights in training, so its `version` is theirs.

    `rows()` answers are sampled side by side in each of the processes that share the work.
    """

    language_model: LanguageModel
    rows: Callable[[], int]
    version: int = 0
    world: World = field(default_factory=World)

    @property
    def abilities(self) -> frozenset[Ability]:
        if decoder.unsupported(self.language_model) is None:
            return ALL_ABILITIES
        return frozenset[Ability](("score",))

    def update(self, version: int) -> None:
        self.version = version

    def stream(self, sampling: Sampling, noise: Noise, measures: Measures | None = None) -> Stream:
        return open_stream(
            self.language_model,
            sampling,
            noise,
            self.rows(),
            version=self.version,
            measures=measures,
            world=self.world,
        )

    def write(
        self,
        requests: Sequence[SampleRequest],
        sampling: Sampling,
        noise: Noise,
        progress: Progress | None = None,
    ) -> list[Trajectory]:
        return streaming.write(self, requests, sampling, noise, progress)

    @torch.inference_mode()
    def score(
        self, texts: Sequence[tuple[tuple[int, ...], tuple[int, ...]]]
    ) -> list[NDArray[np.float32]]:
        return self.world.gather(
            [_logprobs(self.language_model, *text) for text in self.world.divide(texts)]
        )


def _logprobs(
    language_model: LanguageModel, prompt: tuple[int, ...], ids: tuple[int, ...]
) -> NDArray[np.float32]:
    tokens = torch.tensor([prompt + ids], device=language_model.device)
    logits_TV = language_model.model(tokens, use_cache=False).logits[
        0, len(prompt) - 1 : -1, : language_model.vocabulary
    ]
    logprobs_TV = logits_TV.to(torch.promote_types(logits_TV.dtype, torch.float32)).log_softmax(-1)
    chosen: NDArray[np.float32] = (
        logprobs_TV.gather(-1, tokens[0, len(prompt) :, None])[:, 0].float().cpu().numpy()
    )
    return chosen
