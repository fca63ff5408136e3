"""Rate limit of logged values per team: a token bucket that refills at `rate` values a second."""

from __future__ import annotations

import math
import time

BURST_SECONDS = 10
LONGEST_WAIT = 60


class LogRateLimit:
    """The buckets of one process; with n processes a team may log n times as much."""

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self._left: dict[int, tuple[float, float]] = {}

    def wait(self, team_id: int, size: int) -> int:
        """Return 0 if `size` values may pass now, else the seconds to wait.

        A request of any size passes if the bucket is full.
        """
        now, full = time.monotonic(), float(self.rate * BURST_SECONDS)
        available, updated_at = self._left.get(team_id, (full, now))
        available = min(full, available + (now - updated_at) * self.rate)
        passes = available >= min(size, full)
        # A request larger than the bucket leaves it below zero, so that the team waits for the rest
        # afterwards and the rate holds on average.
        self._left[team_id] = (available - size if passes else available, now)
        return (
            0
            if passes
            else min(LONGEST_WAIT, max(1, math.ceil((min(size, full) - available) / self.rate)))
        )
