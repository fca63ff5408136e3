"""Celery's part: a message is only a hint that something waits. The sweep finds the same without
it.
"""

from __future__ import annotations

from celery import shared_task

from workers import run_placement
from workers.shards import placement


@shared_task(name="workers.place")
def place() -> None:
    """Give waiting runs their devices, on whatever machine."""
    run_placement.place_queued()


@shared_task(name="workers.start_placed")
def start_placed() -> None:
    """Start the runs that somebody has placed on this machine."""
    run_placement.start_placed()


@shared_task(name="workers.start_shards")
def start_shards() -> None:
    """Fill this host's free devices: with runs first, then with parts of jobs."""
    run_placement.place_queued()
    placement.place_waiting()
