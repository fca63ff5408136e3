from __future__ import annotations

from typing import Literal

from trainer.spec.generators.generator import GeneratorSettings


class PlainGenerate(GeneratorSettings):
    """N independent answers to each problem."""

    kind: Literal["plain"] = "plain"
    function = "trainer.text.rollouts.generators.plain:PlainGenerator"

    def describe(self) -> str:
        count = self.per_problem
        return "one new answer" if count == 1 else f"{count} new answers"
