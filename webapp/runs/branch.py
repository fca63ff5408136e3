"""The live branch of a run: what its attempts recorded, without the tails that a later attempt replaced.

An attempt that resumed at step s replaces everything that earlier attempts did after s.
"""

from __future__ import annotations

from typing import TypeVar

from django.db.models import Model, Q, QuerySet

from webapp.runs.models import Run

M = TypeVar("M", bound=Model)


def on_live_branch(run: Run, rows: QuerySet[M]) -> QuerySet[M]:
    """`rows` (of a model with `attempt` and `step`) of `run` that no later attempt replaced."""
    limit: int | None = None
    for number, rewound_to in run.attempts.order_by("-number").values_list("number", "rewound_to"):
        if limit is not None:
            rows = rows.exclude(Q(attempt=number) & Q(step__gt=limit))
        if rewound_to is not None:
            limit = rewound_to if limit is None else min(limit, rewound_to)
    return rows
