"""Base students: asked for by experiments, trained by workers, one for each name and seed.

A base that is ready is a model, and data sets, of the team like any other. If somebody deletes one
of these, the base is trained again for the next experiment that needs it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

from django.db import transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from trainer.experiments.definition import Locate
from webapp.access.models import Team
from webapp.base import celery_client
from webapp.experiments.models import BaseStudent, ExperimentRun
from webapp.library import locations
from webapp.library.locations import LocationError

# Without a heartbeat for this time the worker that trained it is gone.
LOST = timedelta(seconds=60)
LONGEST_LINE = 200


class NotReady(Exception):
    """A base student is not trained yet."""


def request(team: Team, names: Sequence[str], seed: int) -> list[BaseStudent]:
    """Return the bases of a seed, locked until the end of the transaction.

    Workers are asked for those that are not ready, also where they have failed before.
    """
    for name in names:
        BaseStudent.objects.get_or_create(team=team, name=name, seed=seed)
    bases = BaseStudent.objects.filter(team=team, name__in=names, seed=seed)
    # The lock makes a worker that is about to finish one wait, so that no run misses its end.
    locked = list(bases.select_for_update().order_by("pk"))
    if not all(map(is_ready, locked)):
        bases.exclude(problem="").update(problem="", heartbeat_at=None)
        transaction.on_commit(celery_client.wake_bases)
    return locked


def is_ready(base: BaseStudent) -> bool:
    if base.model_id is None:
        return False
    try:
        return all(locations.data_set(uri, base.team) for uri in base.files.values())
    except LocationError:
        return False


def location(bases: Mapping[str, BaseStudent]) -> Locate:
    """Return what a definition names in the place of `base:<name>`; it raises NotReady."""

    def locate(name: str, file: str) -> str:
        base = bases[name]
        if base.model is None or not is_ready(base):
            raise NotReady(f"The base student {base} is not trained yet.")
        return base.files[file] if file else locations.uri_of_model(base.model)

    return locate


def waiting() -> QuerySet[BaseStudent]:
    """Return the bases that runs wait for and that no worker trains."""
    return wanted().filter(Q(heartbeat_at=None) | Q(heartbeat_at__lt=Now() - LOST), problem="")


def wanted() -> QuerySet[BaseStudent]:
    """Return the bases that runs wait for."""
    cells = ExperimentRun.objects.filter(launch=ExperimentRun.Launch.WAITING)
    return BaseStudent.objects.filter(pk__in=cells.values("waits_for"))


def claim_next() -> BaseStudent | None:
    """Claim the base that was asked for first, for this worker; None if none waits."""
    with transaction.atomic():
        base = waiting().select_for_update(skip_locked=True).order_by("pk").first()
        if base is None:
            return None
        BaseStudent.objects.filter(pk=base.pk).update(
            claim=base.claim + 1, heartbeat_at=Now(), progress=""
        )
    base.refresh_from_db()
    return base


def heartbeat(base: BaseStudent, progress: str) -> bool:
    """Renew the heartbeat; False if another worker has the base or no run waits for it."""
    claimed = BaseStudent.objects.filter(pk=base.pk, claim=base.claim)
    if not claimed.update(heartbeat_at=Now(), progress=progress[:LONGEST_LINE]):
        return False
    return base.cells.filter(launch=ExperimentRun.Launch.WAITING).exists()


def release(base: BaseStudent) -> None:
    """Let another worker take the base."""
    BaseStudent.objects.filter(pk=base.pk, claim=base.claim).update(heartbeat_at=None, progress="")
