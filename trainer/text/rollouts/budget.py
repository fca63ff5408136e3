"""Limits on what a round may generate, checked before anything is generated."""

from __future__ import annotations

from dataclasses import dataclass, field


class BudgetExceeded(Exception):
    """A round would generate more than its budget; the message says what and how much."""


@dataclass
class Usage:
    trajectories: int = 0
    tokens: int = 0

    def add(self, trajectories: int, tokens: int) -> None:
        self.trajectories += trajectories
        self.tokens += tokens


@dataclass
class Budget:
    """Limits on what is generated, and counts of what was."""

    trajectories: int
    tokens: int
    generated: Usage = field(default_factory=Usage)
    _reserved: Usage = field(default_factory=Usage)

    def left(self) -> Usage:
        """What is neither spent nor reserved."""
        return Usage(
            self.trajectories - self.generated.trajectories - self._reserved.trajectories,
            self.tokens - self.generated.tokens - self._reserved.tokens,
        )

    def reserve(self, trajectories: int, tokens: int) -> None:
        """Reserve the most that answers may cost.

        Raises BudgetExceeded, without changing anything, if less than that is left.
        """
        # Both limits are checked before either is reserved: a refusal leaves the budget unchanged.
        for name, amount in (("trajectories", trajectories), ("tokens", tokens)):
            remaining: int = getattr(self.left(), name)
            if amount > remaining:
                raise BudgetExceeded(
                    f"The round would generate up to {amount} {name}, but {remaining} of its "
                    f"{getattr(self, name)} are left. "
                    "Ask for fewer or shorter answers, or raise the budget."
                )
        self._reserved.add(trajectories, tokens)

    def spend(self, reserved_tokens: int, tokens: int) -> None:
        """Count one answer: `tokens` of its `reserved_tokens` are spent, the rest is released."""
        if (
            not 0 <= tokens <= reserved_tokens <= self._reserved.tokens
            or not self._reserved.trajectories
        ):
            raise BudgetExceeded(
                f"An answer of {tokens} tokens was written, for which {reserved_tokens} were "
                "allowed."
            )
        self._reserved.add(-1, -reserved_tokens)
        self.generated.add(1, tokens)
