"""Preflights are asked for by pages, claimed and answered by workers, and read by pages.

Nobody waits for a worker that is not there: a definition may be launched without its preflight.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from datetime import timedelta

from django.conf import settings
from django.db import models, transaction
from django.db.models import Q
from django.utils import timezone

from trainer.spec import RunSpec, to_dict
from trainer.text.preflight.findings import Report, report_from
from webapp.access.models import Team
from webapp.base import celery_client, turns
from webapp.preflights.fingerprint import fingerprint_of
from webapp.preflights.models import Preflight

# A form that was left does not wait for its answer any more.
WAITING = timedelta(minutes=5)
# Time that a claimed preflight may take beyond its own limit before another worker takes it.
GRACE_SECONDS = 60.0
# An answer that is not complete is asked for again after this time.
RETRY = timedelta(minutes=1)
KEPT = timedelta(days=30)
POLL_SECONDS = 0.2
# Launches that wait at once: each holds a thread.
WAITERS = threading.BoundedSemaphore(turns.MOST_WAITING)


def stored_report(team: Team, spec: RunSpec) -> Report | None:
    """Return the answer about a definition, if a worker has given it."""
    row = Preflight.objects.filter(team=team, fingerprint=fingerprint_of(spec)).first()
    return report_of(row) if row else None


def report_of(preflight: Preflight) -> Report | None:
    """Return the stored answer; None while there is none, or if it is to be given again."""
    if preflight.report is None or preflight.finished_at is None:
        return None
    report = report_from(preflight.report)
    is_old = preflight.finished_at < timezone.now() - RETRY
    return None if is_old and not report.is_complete else report


def request(team: Team, spec: RunSpec) -> Preflight:
    """Return the preflight of a definition; where it has no answer, ask the workers for it."""
    now = timezone.now()
    preflight, is_new = Preflight.objects.get_or_create(
        team=team, fingerprint=fingerprint_of(spec), defaults={"spec": to_dict(spec)}
    )
    if report_of(preflight):
        return preflight
    silent = Q(claimed_at__lt=now - _longest())
    old_answer = Q(finished_at__lt=now - RETRY)
    # Nobody has taken it, and soon nobody would, because a form that was left is not checked.
    forgotten = Q(claimed_at=None, requested_at__lt=now - WAITING)
    again = Preflight.objects.filter(
        (silent & Q(finished_at=None)) | old_answer | forgotten, pk=preflight.pk
    ).update(claimed_at=None, finished_at=None, report=None, requested_at=now)
    if is_new or again:
        transaction.on_commit(celery_client.wake_preflights)
    if again:
        preflight.refresh_from_db()
    return preflight


def wait_for(asked: Sequence[Preflight], seconds: float) -> list[Report | None]:
    """Return the answers once all are stored, or after `seconds`, when some may be None.

    A page that waits gives up its turn. Further launches than there are threads do not wait.
    """
    reports = [report_of(preflight) for preflight in asked]
    if all(reports) or not WAITERS.acquire(blocking=False):
        return reports
    try:
        turns.give_up()
        deadline = time.monotonic() + seconds
        while not all(reports) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
            for number, preflight in enumerate(asked):
                if reports[number] is None:
                    preflight.refresh_from_db()
                    reports[number] = report_of(preflight)
        return reports
    finally:
        WAITERS.release()


def claim_next() -> Preflight | None:
    """Claim the preflight that was asked for last: earlier ones may be of texts half typed."""
    with transaction.atomic():
        preflight = (
            waiting().select_for_update(skip_locked=True).order_by("-requested_at", "-pk").first()
        )
        if preflight is None:
            return None
        preflight.claimed_at = timezone.now()
        preflight.save(update_fields=["claimed_at"])
    return preflight


def waiting() -> models.QuerySet[Preflight]:
    """Return the preflights that a worker should make."""
    return Preflight.objects.filter(claimed_at=None, requested_at__gt=timezone.now() - WAITING)


def finish(preflight: Preflight, report: Report) -> None:
    """Store the answer, unless another worker has taken the preflight since."""
    Preflight.objects.filter(pk=preflight.pk, claimed_at=preflight.claimed_at).update(
        report=report.to_json(), finished_at=timezone.now()
    )


def waited_seconds(preflight: Preflight) -> float:
    return (timezone.now() - preflight.requested_at).total_seconds()


def prune() -> int:
    """Delete answers that nobody has asked for in a month; return how many."""
    old = Preflight.objects.filter(requested_at__lt=timezone.now() - KEPT)
    return old.delete()[0]


def _longest() -> timedelta:
    return timedelta(seconds=settings.STILLROOM_PREFLIGHT_SECONDS + GRACE_SECONDS)
