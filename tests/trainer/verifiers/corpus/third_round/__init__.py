"""Pairs written after the fixes of the second round and judged before anything was fixed on them.

`docs/verifiers.md` has those rates.
"""

from __future__ import annotations

from tests.trainer.verifiers.corpus.groups import Group
from tests.trainer.verifiers.corpus.third_round import choice, math, numeric

GROUPS: dict[str, tuple[Group, ...]] = {
    "numeric": numeric.GROUPS,
    "choice": choice.GROUPS,
    "math": math.GROUPS,
}
