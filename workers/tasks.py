"""The Celery tasks. A message only notifies: the sweep finds the same work without it."""

from __future__ import annotations

from celery import shared_task

from workers import bases, preflights, run_placement
from workers.shards import placement


@shared_task(name="workers.place")
def place() -> None:
    """Allocate devices to waiting runs, on all machines."""
    run_placement.place_queued()


@shared_task(name="workers.start_placed")
def start_placed() -> None:
    """Start the runs that were placed on this machine."""
    run_placement.start_placed()


@shared_task(name="workers.start_shards")
def start_shards() -> None:
    """Fill this host's free devices: with runs first, then with parts of jobs."""
    run_placement.place_queued()
    placement.place_waiting()


@shared_task(name="workers.start_preflights")
def start_preflights() -> None:
    """Start to check the definitions that wait for it."""
    preflights.start_runners()


@shared_task(name="workers.start_bases")
def start_bases() -> None:
    """Start to train the base students that runs wait for."""
    bases.start_runner()
