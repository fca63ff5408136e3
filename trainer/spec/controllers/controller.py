"""What every controller declares."""

from __future__ import annotations

from typing import ClassVar, Literal

from trainer.spec.mechanisms import Mechanism

# What a sampler can do beyond writing whole answers. step: tokens are reported while answers are
# written; abort: answers in progress can be paused; forced: a request may fix the next token; fork:
# branches share the prefix's cache; score: given ids are read; entropy, top: what can be reported
# of a token beside its log-prob.
Ability = Literal["step", "abort", "forced", "fork", "score", "entropy", "top"]


class ControllerSettings(Mechanism):
    """How many answers each problem gets, and what happens to a problem's group of answers.

    `function` makes a `Controller` (`trainer.text.rollouts.protocols`) from these settings.
    `abilities` are what it needs of the sampler. `steers` says whether it pauses or branches
    answers, so that what is sampled is not known when a round begins.
    """

    abilities: ClassVar[frozenset[Ability]] = frozenset()
    steers: ClassVar[bool] = False

    def answers_at_most(self, per_problem: int) -> int:
        """The most answers to a problem in a round whose generator asks for `per_problem`."""
        return per_problem
