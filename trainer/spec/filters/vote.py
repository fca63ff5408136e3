from __future__ import annotations

from typing import Literal

from trainer.spec.filters.filter import FilterSettings


class VoteFilter(FilterSettings):
    """An answer is right if it agrees with the most common answer to its problem (TTRL).

    No reference is read. Answers that cannot be read, or were cut, have no vote and are wrong.
    """

    kind: Literal["vote"] = "vote"
    function = "trainer.text.rollouts.filters.vote:build"
    reads_references = False

    def describe(self) -> str:
        return "each answer is judged by the most common answer to its problem"
