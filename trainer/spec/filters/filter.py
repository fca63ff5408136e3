"""What every filter declares."""

from __future__ import annotations

from typing import ClassVar

from trainer.spec.mechanisms import Mechanism


class FilterSettings(Mechanism):
    """How answers are judged, and which rows are made of them.

    `function` makes a `Filter` (`trainer.text.rollouts.protocols`) from these settings and a
    `FilterParts` (`trainer.text.rollouts.filters.filter_parts`). `edits_answers` says whether it
    changes answers, `reads_references` whether its verdicts compare them with the references.
    """

    edits_answers: ClassVar[bool] = False
    reads_references: ClassVar[bool] = True
