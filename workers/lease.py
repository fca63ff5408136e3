"""The lease of a supervising process on its work: a run's attempt, a member or a copy of a part.

The process renews it at a fraction of the lease period. An outage of Postgres delays a renewal and
ends nothing: the lease is lost only when Postgres answers that the work is over or belongs to
somebody else, such as a higher attempt.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TypeVar

from workers.database import retry_on_outage
from workers.machine import host

# Between queries of the row that says what the process has to do.
CHECK_SECONDS = 1.0
Row = TypeVar("Row")


class LeaseLost(Exception):
    """This process may not continue its work: it is over, or it belongs to another process."""


class Lease:
    """`renew` renews it in Postgres and returns a false value if it is lost.

    Call `check` or `renew_if_due` at every poll: both return at once while nothing is due.
    """

    def __init__(self, renew: Callable[[], object]) -> None:
        self._renew = renew
        # time.monotonic() of the last query and renewal.
        self._checked_at = self._renewed_at = -math.inf

    def check(self, read: Callable[[], Row | None]) -> Row | None:
        """Return what `read` returns, which must not be false, and renew the lease if that is due.

        Returns None within CHECK_SECONDS of the last query. Raises LeaseLost.
        """
        now = time.monotonic()
        if now - self._checked_at < CHECK_SECONDS:
            return None
        self._checked_at = now
        row = retry_on_outage(read)
        if not row:
            raise LeaseLost
        self._renew_if_due(now)
        return row

    def renew_if_due(self) -> None:
        """Renew the lease if the last renewal is HEARTBEAT_SECONDS ago. Raises LeaseLost."""
        self._renew_if_due(time.monotonic())

    def _renew_if_due(self, now: float) -> None:
        if now - self._renewed_at < host.HEARTBEAT_SECONDS:
            return
        self._renewed_at = now
        if not retry_on_outage(self._renew):
            raise LeaseLost
