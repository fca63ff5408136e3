from __future__ import annotations

from typing import Literal

from trainer.spec.filters.filter import FilterSettings


class VerifierFilter(FilterSettings):
    """Each answer gets a verdict; none is removed or changed."""

    kind: Literal["verifier"] = "verifier"
    function = "trainer.text.rollouts.filters.verifier:build"

    def describe(self) -> str:
        return "each answer is judged"
