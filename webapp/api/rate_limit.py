"""How much each team may log: a bucket that fills at `rate` values a second and holds a burst."""

from __future__ import annotations

import math
import time

BURST_SECONDS = 10
LONGEST_WAIT = 60


class LogRateLimit:
    """Of one process; a server of several processes lets through as many times more."""

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self._left: dict[int, tuple[float, float]] = {}

    def wait(self, team_id: int, size: int) -> int:
        """0 if `size` values may pass now, else the seconds after which to try again. Whatever its
        size, one passes a full bucket.
        """
        now, full = time.monotonic(), float(self.rate * BURST_SECONDS)
        available, updated_at = self._left.get(team_id, (full, now))
        available = min(full, available + (now - updated_at) * self.rate)
        passes = available >= min(size, full)
        self._left[team_id] = (available - size if passes else available, now)
        return (
            0
            if passes
            else min(LONGEST_WAIT, max(1, math.ceil((min(size, full) - available) / self.rate)))
        )
