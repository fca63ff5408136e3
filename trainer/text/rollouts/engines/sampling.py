"""Answers sampled by the trainer itself, from any network that it can load."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

from trainer.engine.distributed.world import World
from trainer.spec.sampling import Sampling
from trainer.text.language.models import LanguageModel
from trainer.text.rollouts.engines import batched_sampler, decoder, transformers_generate
from trainer.text.rollouts.engines.noise import Noise
from trainer.text.rollouts.records import Progress, SampleRequest, Source, Trajectory


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
    engine = (
        batched_sampler if decoder.unsupported(language_model) is None else transformers_generate
    )
    keys = [
        (request.problem, request.prompt, sample)
        for request in requests
        for sample in request.samples
    ]
    trajectory_by_key: dict[tuple[str, tuple[int, ...], int], Trajectory] = {}
    for done, trajectory in enumerate(
        engine.write(language_model, requests, sampling, noise, rows, source), start=1
    ):
        trajectory_by_key[trajectory.problem, trajectory.prompt, trajectory.sample] = trajectory
        if progress:
            progress(done, len(keys))
    return [trajectory_by_key[key] for key in keys]


@dataclass
class InProcessEngine:
    """The engine that samples with the weights in training, so its `version` is theirs.

    `rows()` answers are sampled side by side in each of the processes that share the work.
    """

    language_model: LanguageModel
    rows: Callable[[], int]
    version: int = 0
    world: World = field(default_factory=World)

    def update(self, version: int) -> None:
        self.version = version

    def write(
        self,
        requests: Sequence[SampleRequest],
        sampling: Sampling,
        noise: Noise,
        progress: Progress | None = None,
    ) -> list[Trajectory]:
        own_requests = self.world.divide(requests)
        trajectories = iter(
            sample(
                self.language_model,
                own_requests,
                sampling,
                noise,
                rows=self.rows(),
                progress=progress,
            )
        )
        # One list per request: `gather` restores the order of what `divide` split.
        by_request = self.world.gather(
            [list(islice(trajectories, len(request.samples))) for request in own_requests]
        )
        return [
            self._with_version(trajectory)
            for request_trajectories in by_request
            for trajectory in request_trajectories
        ]

    def _with_version(self, trajectory: Trajectory) -> Trajectory:
        return replace(
            trajectory,
            segments=tuple(
                replace(segment, version=self.version) for segment in trajectory.segments
            ),
        )
