"""Celery's part: a message is only a hint that something waits. The sweep finds the same without
it.
"""

from __future__ import annotations

from celery import shared_task

from workers import placement, shards


@shared_task(name="workers.place")
def place() -> None:
    """Give waiting runs their devices, on whatever machine."""
    placement.place_queued()


@shared_task(name="workers.start_placed")
def start_placed() -> None:
    """Start the runs that somebody has placed on this machine."""
    placement.start_placed()


@shared_task(name="workers.start_shards")
def start_shards() -> None:
    """Fill this host's free devices: with runs first, then with parts of jobs."""
    placement.place_queued()
    shards.place_waiting()
