"""Limits of one run, so that a mistake in a script, such as a name for each step, does no harm.

What exceeds a limit is not stored, and the run's log says so; everything below the limit is. The
caller has locked the run's row, so that several writers together cannot exceed a limit.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from itertools import islice

from webapp.clients.client_batch import LoggedValues
from webapp.runs.models import Run
from webapp.series import series_store

# `series_store.keys` reads all names of a run: for its page, for its summary in lists and here. A
# run with a name for each step would become slow for everybody who opens it.
MAX_SERIES = 10_000
# Parameters of a run, and likewise its tags. All of them are one JSON value of one row, which is
# written again when one of them changes.
MAX_PARAMS = 5_000
MAX_INPUTS = 1_000
# Characters of one parameter or tag. For MLflow's clients its own limits hold, which are not
# larger.
LONGEST_VALUE = 8_000
# Names in memory over all runs: a hundred runs that have as many series as they may. Beyond it the
# runs that were read longest ago are forgotten, and cost one query at their next request.
REMEMBERED = 1_000_000


class KnownSeries:
    """Caches the names of runs' series.

    Series are never deleted, so that only a name that is not in the cache needs a query.
    """

    def __init__(self) -> None:
        self._names: OrderedDict[int, frozenset[str]] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()

    def refused(self, run: Run, names: Iterable[str]) -> list[str]:
        """Return those of `names` (in order of arrival) that are new and beyond MAX_SERIES."""
        known_names = self._names.get(run.pk, frozenset())
        if known_names.issuperset(names):
            return []
        # A run that is full stays full, so that its further names need no query either.
        if len(known_names) < MAX_SERIES:
            known_names = frozenset(series_store.keys(run))
            # The read above needs no lock: it gets a whole frozenset, old or new. The size and the
            # entries must change together.
            with self._lock:
                self._size += len(known_names) - len(self._names.pop(run.pk, ()))
                self._names[run.pk] = known_names
                while self._size > REMEMBERED and len(self._names) > 1:
                    self._size -= len(self._names.popitem(last=False)[1])
        new = [name for name in names if name not in known_names]
        return new[max(0, MAX_SERIES - len(known_names)) :]


_known_series = KnownSeries()


def within(run: Run, logs: Sequence[LoggedValues]) -> tuple[list[LoggedValues], str]:
    """Return `logs` without series beyond the limit, and a sentence about these, or ""."""
    refused = _known_series.refused(run, dict.fromkeys(name for log in logs for name in log.values))
    if not refused:
        return list(logs), ""
    left_out = set(refused)
    kept_logs = [
        LoggedValues(
            {k: v for k, v in log.values.items() if k not in left_out},
            log.step,
            log.wall_time,
            log.id,
        )
        for log in logs
    ]
    return kept_logs, (
        f"This run has {MAX_SERIES:,} series, as many as a run may have. "
        "Values under further names are not kept, such as "
        f"{listed(refused)}; those under known names are. Does the script make a name for "
        f"each step?"
    )


def listed(names: Sequence[str]) -> str:
    """Return the first three names and the number of others, for a sentence."""
    first_names = ", ".join(f"“{name}”" for name in islice(names, 3))
    return f"{first_names} and {len(names) - 3:,} more" if len(names) > 3 else first_names
