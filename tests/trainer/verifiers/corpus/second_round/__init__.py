"""Pairs written to attack the verifiers as they were after the first round of fixes.

They were judged once before anything was fixed on them; `docs/verifiers.md` has those rates.
"""

from __future__ import annotations

from tests.trainer.verifiers.corpus.groups import Group
from tests.trainer.verifiers.corpus.second_round import choice, exact, math, numeric

GROUPS: dict[str, tuple[Group, ...]] = {
    "numeric": numeric.GROUPS,
    "choice": choice.GROUPS,
    "math": math.GROUPS,
    "exact": exact.GROUPS,
}
