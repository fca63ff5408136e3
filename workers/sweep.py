"""The sweep: every few seconds it finds in Postgres what no message told anyone, queued runs and runs whose supervisor has died.

It needs no broker, so that losing Redis delays a run by seconds and loses none.
"""

from __future__ import annotations

import logging
import time
from datetime import timedelta

from webapp import artifacts
from webapp.runs import lifecycle
from workers import host
from workers.persistence import persist
from workers.placement import place_queued
from workers.supervision import start_supervisor

logger = logging.getLogger(__name__)
PERIOD_SECONDS = 3.0
COLLECT_SECONDS = 3600.0


def forever() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    collected = time.monotonic()
    while True:
        persist(sweep)
        if time.monotonic() - collected > COLLECT_SECONDS:
            collected = time.monotonic()
            logger.info("removed %d artifacts that nothing names", persist(artifacts.collect))
        time.sleep(PERIOD_SECONDS)


def sweep() -> None:
    adopt_orphans()
    place_queued()


def adopt_orphans() -> None:
    """Give runs of this host a new supervisor when they have not been heard of for a lease period. One that still lives keeps them."""
    orphans = lifecycle.orphans(timedelta(seconds=host.LEASE_SECONDS)).filter(lease_holder=host.name())
    for public_id, attempt in orphans.values_list("public_id", "attempt"):
        start_supervisor(public_id, attempt)
