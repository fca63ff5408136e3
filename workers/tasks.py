"""Celery's part: a message is only a hint that a run waits. The sweep finds the same runs without it."""

from __future__ import annotations

from celery import shared_task

from workers.placement import place


@shared_task(name="workers.start_run")
def start_run(run_id: int) -> None:
    """Claim the run for this host and start its supervisor; nothing happens if somebody else has it or no slot is free."""
    place(run_id)
