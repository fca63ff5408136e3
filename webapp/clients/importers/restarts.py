"""Where the values in a file begin again at an earlier step: a process resumed the run there.

A stock client says that it resumes a run. A file only shows steps that come again, and this must be
told from three other things: a table that is not in the order of its steps, processes that log at
the same time and write their steps slightly mixed, and a result that is logged once at a step of
its own. So a series begins again where its step is lower than before although its time is not, and
its next step is higher again and still one that the series has passed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Generic, NamedTuple, TypeVar

from webapp.clients.importers.imported_run import ImportedLog, UnreadableFile
from webapp.clients.limits import MAX_SERIES

Point = TypeVar("Point")
# Rows that wait for the next value of a series that went back, and their values.
MOST_WAITING = 2000
MOST_WAITING_VALUES = 200_000
# Steps of a file without times that are remembered; a longer one is not searched for restarts.
MOST_STEPS = 1_000_000
# Each restart of a run whose series follow each other in its file costs one reading of the file.
# Values after further ones are read too, as if the run had gone on.
MOST_RESTARTS = 200


class GoneBack(NamedTuple, Generic[Point]):
    """A series has gone back at `point`; before that it was last logged at the time `before`."""

    point: Point
    step: int
    before: float


@dataclass
class SeriesSteps(Generic[Point]):
    """The steps of one series so far: the highest with its time, and a point to be confirmed."""

    highest: int
    time: float
    is_curve: bool = False
    waiting: GoneBack[Point] | None = None

    def add(
        self, step: int, time: float, point: Point, is_repeated: bool = True
    ) -> GoneBack[Point] | None:
        """Add the next point; return the one before if this one confirms that it went back.

        `is_repeated` decides where times are unknown (0): whether the step came before.
        """
        waiting, self.waiting = self.waiting, None
        if waiting is not None and waiting.step < step <= self.highest:
            self.highest, self.time = step, time
            return waiting
        has_times = time > 0 and self.time > 0
        is_later = time >= self.time if has_times else is_repeated
        if self.is_curve and step < self.highest and is_later:
            self.waiting = GoneBack(point, step, self.time)
        elif step >= self.highest:
            self.is_curve |= step != self.highest
            self.highest, self.time = step, time
        return None

    def rewind(self, step: int) -> None:
        """Forget everything from `step` on."""
        self.highest, self.waiting = min(self.highest, step - 1), None


def mark_restarts(logs: Iterable[ImportedLog]) -> Iterator[ImportedLog]:
    """Yield logs in the order in which they were written, the first after each restart marked.

    Raises what `logs` raises, after everything before it.
    """
    steps_by_key: dict[str, SeriesSteps[int]] = {}
    # Rows that may turn out to be a restart, and all rows after them; `first` is the index of
    # the first one. `waiting` has the indices of rows at which a series went back.
    rows: deque[ImportedLog] = deque()
    first = 0
    waiting: dict[str, int] = {}
    waiting_values = 0
    seen_steps: set[int] = set()
    try:
        for index, row in enumerate(logs):
            rows.append(row)
            waiting_values += len(row.log.values)
            step, time = row.log.step or 0, row.log.wall_time
            is_repeated = step in seen_steps
            if time <= 0 and len(seen_steps) < MOST_STEPS:
                seen_steps.add(step)
            restarts = []
            for name in row.log.values:
                series = steps_by_key.get(name)
                if series is None:
                    _begin(steps_by_key, name, step, time)
                    continue
                gone_back = series.add(step, time, index, is_repeated)
                if gone_back is not None and gone_back.point >= first:
                    restarts.append(gone_back)
                if series.waiting is not None:
                    waiting[name] = index
                else:
                    waiting.pop(name, None)
            if restarts:
                restart = min(restarts, key=lambda gone_back: gone_back.point)
                position = restart.point - first
                rows[position] = rows[position]._replace(resumes=True)
                _rewind(steps_by_key, restart.step, islice(rows, position, None))
                waiting.clear()
            keep_from = max(min(waiting.values(), default=index + 1), index + 1 - MOST_WAITING)
            while first < keep_from or waiting_values > MOST_WAITING_VALUES:
                waiting_values -= len(rows[0].log.values)
                yield rows.popleft()
                first += 1
    except UnreadableFile:
        yield from rows
        raise
    yield from rows


def _begin(steps_by_key: dict[str, SeriesSteps[int]], name: str, step: int, time: float) -> None:
    # The run does not keep further series.
    if len(steps_by_key) < MAX_SERIES:
        steps_by_key[name] = SeriesSteps(step, time)


def _rewind(
    steps_by_key: dict[str, SeriesSteps[int]], step: int, rows: Iterable[ImportedLog]
) -> None:
    """Let every series begin again at `step`, then add the `rows` since the restart."""
    for series in steps_by_key.values():
        series.rewind(step)
    for row in rows:
        for name in row.log.values:
            rewound = steps_by_key.get(name)
            if rewound is not None and (row.log.step or 0) >= rewound.highest:
                rewound.highest, rewound.time = row.log.step or 0, row.log.wall_time


class Restart(NamedTuple):
    """A restart at a time; `rows` are those with which series went back, the lowest step first."""

    time: float
    rows: list[ImportedLog]


def restarts_of(gone_back: Iterable[GoneBack[ImportedLog]]) -> list[Restart]:
    """Return the first restarts that explain where the series of a run went back, by time.

    A series was last logged before the restart and went back after it, so that one restart explains
    all series whose two times it is between.
    """
    unexplained = sorted(gone_back, key=lambda series: series.point.log.wall_time)
    restarts: list[Restart] = []
    while unexplained and len(restarts) < MOST_RESTARTS:
        time = unexplained[0].point.log.wall_time
        explained = [unexplained[0], *(other for other in unexplained[1:] if other.before < time)]
        unexplained = [other for other in unexplained[1:] if other.before >= time]
        explained.sort(key=lambda series: series.step)
        restarts.append(Restart(time, [series.point for series in explained]))
    return restarts
