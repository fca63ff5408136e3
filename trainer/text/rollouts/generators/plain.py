"""The generate stage: N independent answers to each question."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from trainer.spec import PlainGenerate, Sampling
from trainer.text.rollouts.records import Prompt, SampleRequest


@dataclass(frozen=True)
class PlainGenerator:
    """Requests `per_problem` answers to each problem.

    A problem that occurs twice in a round gets the next rollout indices, hence different answers.
    """

    settings: PlainGenerate

    @property
    def per_problem(self) -> int:
        return self.settings.per_problem

    @property
    def sampling(self) -> Sampling:
        return self.settings.sampling

    def propose(self, prompts: Sequence[Prompt], counts: Sequence[int]) -> list[SampleRequest]:
        used: Counter[str] = Counter()
        requests = []
        for prompt, count in zip(prompts, counts, strict=True):
            problem = prompt.question.problem.id
            first = used[problem]
            used[problem] += count
            requests.append(
                SampleRequest(problem, prompt.question.prompt, tuple(range(first, first + count)))
            )
        return requests
