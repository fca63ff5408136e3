"""DAPO's filter of groups without variance (arXiv 2503.14476, section 3.2), with resampling.

A group whose answers all have one verdict, or none, has only advantages of 0. It gets as many
answers again until their verdicts differ or it has `most_answers`, and is dropped then. A problem
that the student solves at a rate p is kept after n answers with probability 1 − pⁿ − (1 − p)ⁿ. DAPO
draws other problems instead, which a round cannot: it knows its own problems only.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from trainer.spec.controllers.dynamic_sampling import DynamicSampling
from trainer.text.rollouts.budget import Budget
from trainer.text.rollouts.controllers.fixed import FixedController
from trainer.text.rollouts.protocols import Generator
from trainer.text.rollouts.records import Decision, Group

ONE_VERDICT = "all answers have one verdict"


@dataclass(frozen=True)
class DynamicSamplingController(FixedController):
    settings: DynamicSampling = field(default_factory=DynamicSampling)

    def budget(self, problems: int, generator: Generator) -> Budget:
        answers = problems * self.settings.answers_at_most(generator.per_problem)
        return Budget(answers, answers * generator.sampling.max_new_tokens)

    def decide(self, group: Group) -> Decision:
        if len(set(group.verdicts)) > 1:
            return Decision("train")
        written = len(group.answers)
        further = min(written, self.settings.most_answers - written)
        if further > 0:
            return Decision("resample", ONE_VERDICT, count=further)
        return Decision("drop", ONE_VERDICT)
