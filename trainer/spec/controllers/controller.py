"""What every controller declares."""

from __future__ import annotations

from trainer.spec.mechanisms import Mechanism


class ControllerSettings(Mechanism):
    """How many answers each problem gets, and what happens to a problem's group of answers.

    `function` makes a `Controller` (`trainer.text.rollouts.protocols`) from these settings.
    """

    def answers_at_most(self, per_problem: int) -> int:
        """Return how many answers a problem may get in a round of so many to each."""
        return per_problem
