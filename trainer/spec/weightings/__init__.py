"""The weight of a problem as a function of its pass rate. One file declares one weighting."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer.spec.mechanisms import choices
from trainer.spec.weightings.weighting import Weighting

if TYPE_CHECKING:
    AnyWeighting = Weighting
else:
    AnyWeighting = choices(__name__, Weighting)
