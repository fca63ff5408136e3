"""Settings and figures of runs that no writer has stored: of earlier versions, or since a crash.

The sweep calls `catch_up`, so that an upgrade of many runs delays no start.
"""

from __future__ import annotations

import time
from datetime import timedelta

from django.db import transaction
from django.db.models import F, Q

from webapp.base.database_clock import database_now
from webapp.clients.masking import masked
from webapp.ingest import figures
from webapp.runs import run_values
from webapp.runs.models import Run

# A run that logs is read by its own writer in this time.
PATIENCE = timedelta(seconds=3 * figures.SECONDS)
# Seconds of one call, after which the sweep does its other work.
SECONDS = 5.0


def catch_up(most: int = 1000) -> int:
    """Store what is missing of at most `most` runs, the newest first; return how many were read."""
    # Without a row, it is None as well.
    unread = Q(search_index__words=None) | Q(
        Q(search_index__read_at=None) | Q(search_index__read_at__lt=database_now() - PATIENCE),
        search_index__read_batch__lt=F("batch_count"),
    )
    began = time.monotonic()
    done = 0
    for pk in list(Run.objects.filter(unread).order_by("-pk").values_list("pk", flat=True)[:most]):
        _store(pk)
        done += 1
        if time.monotonic() - began > SECONDS:
            break
    return done


def _store(pk: int) -> None:
    with transaction.atomic():
        # Locked as by the run's writers. Somebody may have deleted the run.
        run = Run.objects.select_for_update().filter(pk=pk).first()
        if run is None:
            return
        origin = getattr(run, "origin", None)
        # Earlier versions stored secrets as they came.
        definition = masked(origin.params) if origin is not None else run.spec or {}
        run_values.write_settings(run, run_values.settings_of(definition))
        figures.refresh(run)
