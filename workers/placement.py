"""Giving queued runs a slot on this host: the claim is one conditional update, so that of two workers one wins."""

from __future__ import annotations

from django.db import connection, transaction

from webapp.runs import lifecycle
from webapp.runs.models import ACTIVE, Attempt, Run
from workers import host
from workers.supervision import start_supervisor

SLOTS_LOCK = 0x57111


def place(run_id: int) -> bool:
    """Claim the run and start its supervisor, if it is still queued and this host has a free slot."""
    attempt = _claim(run_id)
    if attempt is None:
        return False
    start_supervisor(attempt.run.public_id, attempt.number)
    return True


def place_queued() -> None:
    """Oldest first, until the slots are full."""
    for run_id in lifecycle.queued().values_list("pk", flat=True):
        if not place(run_id) and free_slots() < 1:
            return


def free_slots() -> int:
    return host.slots() - Run.objects.filter(state__in=ACTIVE, lease_holder=host.name()).count()


def _claim(run_id: int) -> Attempt | None:
    """Counting and claiming under one lock, or two claims could share the last slot."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", [SLOTS_LOCK, host.name()])
        if free_slots() < 1:
            return None
        return lifecycle.claim(run_id, host.name())
