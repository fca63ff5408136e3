"""What every shaper declares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from trainer.spec.mechanisms import Mechanism
from trainer.spec.objectives.objective import Need, Write

How = Literal["sets", "adds", "multiplies"]


class Shaper(Mechanism):
    """Changes what a ratio objective learns by, after a round's answers are scored.

    `function` is called with (settings, rows, stage) and returns for each of `writes` one value per
    row (`trainer.text.shapers.shaping`). `writes` says how a value changes what is there. Two that
    set the same exclude each other; all others compose. `needs` are what it reads. `per_token` says
    whether it gives the tokens of one answer different values.
    """

    REQUIRED = ("function", "title", "writes")
    title: ClassVar[str]
    writes: ClassVar[Mapping[Write, How]]
    needs: ClassVar[frozenset[Need]] = frozenset()
    per_token: ClassVar[bool] = True

    @property
    def requirements(self) -> frozenset[Need]:
        """`needs`, with what these settings need besides."""
        return self.needs
