"""How much a round may generate. Overdraft is refused before anything is generated, never found
afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass, field


class BudgetExceeded(Exception):
    """A round would generate more than it may; the sentence says what and how much."""


@dataclass
class Usage:
    trajectories: int = 0
    tokens: int = 0

    def add(self, trajectories: int, tokens: int) -> None:
        self.trajectories += trajectories
        self.tokens += tokens


@dataclass
class Budget:
    """Limits on what is generated; `completed` (not cut, not lost) and `consumed` (trained on)
    count what became of it.
    """

    trajectories: int
    tokens: int
    generated: Usage = field(default_factory=Usage)
    completed: Usage = field(default_factory=Usage)
    consumed: Usage = field(default_factory=Usage)
    _reserved: Usage = field(default_factory=Usage)

    def reserve(self, trajectories: int, tokens: int) -> None:
        """Set aside what answers may cost at most. Raises BudgetExceeded and changes nothing if
        that is more than is left.
        """
        for name, amount in (("trajectories", trajectories), ("tokens", tokens)):
            limit: int = getattr(self, name)
            remaining = limit - getattr(self.generated, name) - getattr(self._reserved, name)
            if amount > remaining:
                raise BudgetExceeded(
                    f"The round would generate up to {amount} {name}, but {remaining} of its {limit} are left. "
                    "Ask for fewer or shorter answers, or raise the budget."
                )
        self._reserved.add(trajectories, tokens)

    def spend(self, reserved_tokens: int, tokens: int, *, completed: bool) -> None:
        """One answer is there: `tokens` of the `reserved_tokens` that were set aside for it are
        spent, the rest is free again.
        """
        if (
            not 0 <= tokens <= reserved_tokens <= self._reserved.tokens
            or not self._reserved.trajectories
        ):
            raise BudgetExceeded(
                f"An answer of {tokens} tokens was written, for which {reserved_tokens} were allowed."
            )
        self._reserved.add(-1, -reserved_tokens)
        self.generated.add(1, tokens)
        if completed:
            self.completed.add(1, tokens)
