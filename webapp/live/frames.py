"""What the live socket tells of a run, read from Postgres in one consistent look."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.db import connection, transaction

from webapp import metrics
from webapp.runs.models import Event, Run
from webapp.teams import access
from webapp.teams.access import Actor

LONGEST_DELTA = 4000
LIST_LENGTH = 200
PARTS = {
    "problem_set": "problems",
    "problems": "problems",
    "snr": "problems",
    "rollouts": "rollouts",
    "log": "log",
    "rewind": "log",
    "end": "log",
    "checkpoint": "checkpoints",
    "checkpoint_removed": "checkpoints",
    "evaluation": "evaluation",
}


@dataclass(frozen=True)
class News:
    """What lies past a cursor: `series` of points in order, at most LONGEST_DELTA each; `rewound` if the curve before it changed too."""

    cursor: int
    state: dict[str, Any]
    series: tuple[metrics.Series, ...]
    changed: tuple[str, ...]
    rewound: bool


def news_since(run_id: int, since: int) -> News:
    """Everything about a run past batch `since`. Raises Run.DoesNotExist."""
    with _snapshot():
        run = Run.objects.defer("spec").get(pk=run_id)
        types = set(Event.objects.filter(run=run, news__gt=since).values_list("type", flat=True).distinct())
        rewound = since > run.news or (since > 0 and "rewind" in types)
        series = () if rewound or since == run.news else tuple(metrics.read([run], None, width=LONGEST_DELTA, since=since))
        return News(run.news, state_of(run), series, tuple(sorted({PARTS[type] for type in types if type in PARTS})), rewound)


def whole(run_id: int, keys: Sequence[str] | None, width: int) -> tuple[int, list[metrics.Series]]:
    """The cursor and the series from the beginning, in about `width` buckets. Raises Run.DoesNotExist."""
    with _snapshot():
        run = Run.objects.defer("spec").get(pk=run_id)
        return run.news, metrics.read([run], keys, width=width)


def list_rows(actor: Actor) -> dict[int, tuple[int, dict[str, Any]]]:
    """The newest runs of the actor's team: id → (cursor, row)."""
    runs = access.visible(actor, Run).filter(team=actor.team).defer("spec").order_by("-pk")[:LIST_LENGTH]
    return {run.pk: (run.news, {"run": run.public_id, "name": run.name, **state_of(run)}) for run in runs}


def cursors(run_ids: Sequence[int]) -> dict[int, int]:
    """Where runs stand now; one that is gone is left out."""
    return dict(Run.objects.filter(pk__in=run_ids).values_list("pk", "news"))


def state_of(run: Run) -> dict[str, Any]:
    """What headers and lists show of a run."""
    return {
        "state": run.state,
        "step": run.step,
        "total_steps": run.total_steps,
        "phase": run.summary.get("phase", ""),
        "eta_s": run.summary.get("eta_s"),
        "reason": run.reason,
        "remedy": run.remedy,
        "attempt": run.attempt,
        "last_event_at": run.last_event_at.isoformat() if run.last_event_at else None,
        "behind_s": run.summary.get("behind_s"),
        "summary": run.summary,
    }


@contextmanager
def _snapshot() -> Iterator[None]:
    """A transaction that sees one state of the database, so that a cursor and what is read with it belong together."""
    outermost = not connection.in_atomic_block
    with transaction.atomic():
        if outermost:
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        yield
