"""The first room: how a problem is asked. N independent answers to the question as it stands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from trainer.spec.sampling import Sampling
from trainer.text.rollouts.records import Prompt, SampleRequest


@dataclass(frozen=True)
class PlainGenerator:
    """`per_problem` answers to each problem. One that comes twice in a round gets the next rollout
    indices, hence other answers.
    """

    per_problem: int
    sampling: Sampling

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
