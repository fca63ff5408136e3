"""The summary of a client run in the list of runs: its newest loss and a sparkline."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable
from typing import Any

from django.db import Error, connection, transaction

from webapp.base import notify
from webapp.ingest import figures
from webapp.ingest.event_log import lock_and_count_batch
from webapp.runs.models import Run
from webapp.series import series_store

log = logging.getLogger(__name__)
# A list of runs shows values that are at most this old; clients may log many times a second.
SECONDS = 2.0
# Pauses per work, so that summaries take at most a tenth of one CPU core.
RESTS = 10
SPARKLINE = 40
# Keys by which clients call what a run is about, the likeliest first. A run with none of them shows
# its first series.
SHOWN = (
    "loss",
    "train/loss",
    "train_loss",
    "training/loss",
    "eval/loss",
    "eval_loss",
    "val_loss",
    "reward",
    "train/reward",
)


class Summaries:
    """Updates summaries in a thread of its own, which sleeps ten times as long as it works."""

    def __init__(self) -> None:
        self._due: dict[int, float] = {}
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def note(self, run_ids: Iterable[int]) -> None:
        """Schedule runs that have new values; each is refreshed once in SECONDS at most."""
        with self._changed:
            for run_id in run_ids:
                # A run that is due keeps its time: moving it would starve a run that always logs.
                self._due.setdefault(run_id, time.monotonic() + SECONDS)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(
                    target=self._work, name="client-summaries", daemon=True
                )
                self._thread.start()
            self._changed.notify()

    def _work(self) -> None:
        while True:
            run_id = self._next()
            began = time.monotonic()
            try:
                refresh(run_id)
            except Run.DoesNotExist:
                continue
            except Error as problem:
                log.warning("The summary of run %s waits for its next values: %s", run_id, problem)
                # The connection of this thread is outside of any request, so that Django does not
                # discard a broken one by itself.
                connection.close()
            time.sleep(min(SECONDS, RESTS * (time.monotonic() - began)))

    def _next(self) -> int:
        """Wait for the run that is due first, and return it."""
        with self._changed:
            while not self._due or min(self._due.values()) > time.monotonic():
                self._changed.wait(
                    min(self._due.values()) - time.monotonic() if self._due else None
                )
            run_id = min(self._due, key=self._due.__getitem__)
            del self._due[run_id]
            return run_id


def refresh(run_id: int) -> None:
    """Recompute the summary from the run's series. Raises Run.DoesNotExist."""
    with transaction.atomic():
        # The lock comes before the read, so that the summary of a run that is being written is not
        # overwritten with an older one.
        batch_count = lock_and_count_batch(run_id)
        run = Run.objects.defer("spec").get(pk=run_id)
        run.summary = {**run.summary, **_shown(run)}
        run.save(update_fields=["summary"])
        figures.refresh_if_due(run)
        notify.publish_on_commit(run.public_id, batch_count)


def _shown(run: Run) -> dict[str, Any]:
    keys = series_store.keys(run)
    sparkline_key = next((key for key in SHOWN if key in keys), keys[0] if keys else None)
    if sparkline_key is None:
        return {"series": 0}
    values = series_store.sparkline(run, sparkline_key, SPARKLINE)
    summary: dict[str, Any] = {
        "sparkline": [series_store.json_number(value) for value in values],
        "sketched": sparkline_key,
        "series": len(keys),
    }
    if "loss" in sparkline_key:
        summary["loss"] = series_store.json_number(
            series_store.latest(run, [sparkline_key]).get(sparkline_key, float("nan"))
        )
    return summary
