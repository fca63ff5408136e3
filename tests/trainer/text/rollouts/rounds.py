"""Rounds without a model: the answers of a toy engine are random ids.

So properties can be tested on thousands of answers. The module also has a model with a teacher,
whose tokenizer has the characters of a stated confidence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np

from tests.trainer.text.tiny import character_tokenizer, save_folder
from trainer.spec import PlainGenerate
from trainer.spec.networks import Network, PrivilegedContext
from trainer.spec.sampling import Sampling
from trainer.text.language.models import LanguageModel, load
from trainer.text.problems import Problem
from trainer.text.rollouts.controllers.fixed import FixedController
from trainer.text.rollouts.engines.noise import Noise, rollout_keys, uniforms
from trainer.text.rollouts.filters.verifier import plain_row, with_advantages
from trainer.text.rollouts.generators.plain import PlainGenerator
from trainer.text.rollouts.pipeline import RolloutPipeline
from trainer.text.rollouts.questions import Answer, Question
from trainer.text.rollouts.records import (
    DIVERGENCE,
    DroppedAnswer,
    Group,
    Progress,
    Prompt,
    SampleRequest,
    Segment,
    TrainRow,
    Trajectory,
)
from trainer.text.rollouts.replays.none import EmptyReplay
from trainer.text.teachers.snapshots import UnchangedWeights
from trainer.text.teachers.teacher_view import TeacherView

END = 1


def prompts(*names: str) -> list[Prompt]:
    """Return one prompt of three ids for each name; its weight is its index."""
    return [
        Prompt(Question(Problem(name, name, "1"), (7, 8, 3 + index), name), float(index))
        for index, name in enumerate(names)
    ]


@dataclass
class ToyEngine:
    """Lengths and ids follow from the noise alone, as a model's would."""

    version: int = -1
    requests: list[SampleRequest] = field(default_factory=list)

    def update(self, version: int) -> None:
        self.version = version

    def write(
        self,
        requests: Sequence[SampleRequest],
        sampling: Sampling,
        noise: Noise,
        progress: Progress | None = None,
    ) -> list[Trajectory]:
        self.requests += requests
        return [
            self._answer(request, sample, sampling, noise)
            for request in requests
            for sample in request.samples
        ]

    def _answer(
        self, request: SampleRequest, sample: int, sampling: Sampling, noise: Noise
    ) -> Trajectory:
        numbers = uniforms(
            rollout_keys(noise, [(request.problem, sample)])[:, None],
            np.arange(sampling.max_new_tokens + 1)[None],
        )[0]
        truncated = numbers[0] > 0.9
        length = sampling.max_new_tokens
        if not truncated:
            length = 1 + int(numbers[0] * sampling.max_new_tokens)
        ids = [3 + int(number * 20) for number in numbers[1 : length + 1]]
        if not truncated:
            ids[-1] = END
        tracks = numbers[1 : length + 1].astype(np.float32)
        segment = Segment(tuple(ids), -tracks, -tracks, tracks, "student", self.version)
        return Trajectory(request.problem, sample, request.prompt, (segment,), truncated)


@dataclass
class ToyFilter:
    """An answer is right if its first id is even, and has no verdict if its last but one is 5."""

    advantages: bool = False
    lose: int = 0

    def judge(
        self, prompts: Sequence[Prompt], trajectories: Sequence[Sequence[Trajectory]]
    ) -> list[Group]:
        return [
            Group(
                prompt,
                tuple(self._answer(prompt, trajectory) for trajectory in prompt_trajectories),
            )
            for prompt, prompt_trajectories in zip(prompts, trajectories, strict=True)
        ]

    def rows(self, groups: Sequence[Group]) -> tuple[list[TrainRow], list[DroppedAnswer]]:
        rows = [
            plain_row(owner, group, answer, DIVERGENCE, None)
            for owner, group in enumerate(groups)
            for answer in group.answers
        ]
        return (with_advantages(rows, True) if self.advantages else rows)[self.lose :], []

    def _answer(self, prompt: Prompt, trajectory: Trajectory) -> Answer:
        verdict = None if 5 in trajectory.ids[-2:] else trajectory.ids[0] % 2 == 0
        return Answer(
            prompt.question.problem,
            trajectory.sample,
            "student",
            trajectory.prompt,
            trajectory.ids,
            trajectory.truncated,
            "",
            verdict,
            "",
            trajectory.logprobs,
            trajectory.entropies,
            trajectory.sampled_logprobs,
            trajectory.versions,
            trajectory.inherited,
        )


def pipeline(per_problem: int = 3, longest: int = 12, **stages: Any) -> RolloutPipeline:
    plain = RolloutPipeline(
        ToyEngine(),
        PlainGenerator(
            PlainGenerate(per_problem=per_problem, sampling=Sampling(max_new_tokens=longest))
        ),
        ToyFilter(),
        FixedController(),
        EmptyReplay(),
    )
    return replace(plain, **stages)


@cache
def student() -> LanguageModel:
    tokenizer = character_tokenizer("0123456789+=.: cdefhinort\n?")
    return load(Network(model=f"file:{save_folder(Path(mkdtemp()), tokenizer=tokenizer)}"))


def view() -> TeacherView:
    """The student, shown the solution."""
    context = PrivilegedContext(shows="solution", template="{question}\n{privileged}\n=")
    return TeacherView("teacher", student(), context, UnchangedWeights(), 16)
