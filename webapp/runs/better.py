"""Which way is better for a metric, by its name: the direction of *best* and of sparklines."""

from __future__ import annotations

import re
from typing import Literal

Better = Literal["higher", "lower"]

# A part of a name between `/` and `.` ends with one of these words: `eval/common/pass_rate`,
# `divergence/mean`, `train_loss`.
HIGHER = re.compile(
    r"(?:^|[/._-])(?:pass_rate|pass_at|pass@\d+|accuracy|acc|reward|auroc|f1)(?=$|[/.])", re.I
)
LOWER = re.compile(
    r"(?:^|[/._-])(?:loss|divergence|kl|ece|brier|perplexity|ppl|nll|error)(?=$|[/.])", re.I
)
# Limits of intervals, spreads and counts of a metric are not the metric.
OTHER = re.compile(r"[/._-](?:low|high|std|stderr|var|count|n)$", re.I)


def better(key: str) -> Better | None:
    """Return whether a higher or a lower value of the metric is better; None if unknown."""
    if OTHER.search(key):
        return None
    if HIGHER.search(key):
        return "higher"
    return "lower" if LOWER.search(key) else None
