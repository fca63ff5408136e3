"""The objective of a stage: the loss at each token. One file declares one objective.

p_T and p_S are the next-token distributions of teacher and student.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer.spec.mechanisms import choices
from trainer.spec.objectives.objective import Objective

if TYPE_CHECKING:
    AnyObjective = Objective
else:
    AnyObjective = choices(__name__, Objective)
