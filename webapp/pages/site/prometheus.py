"""`/metrics`: what this process counted, and what the database says of the whole installation."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Iterable, Iterator
from datetime import datetime

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.db import Error, connection
from django.db.models import Count, Max, Min, Q
from django.http import Http404, HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from webapp.nodes.models import Device, Kind, Node
from webapp.runs.models import ACTIVE, Run, State


class Database(Collector):
    """What Postgres knows of the whole installation, read when it is asked for."""

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterator[Metric]:
        try:
            found = [*_runs(), *_machines()]
        except Error:
            found = []
        yield GaugeMetricFamily(
            "stillroom_database_up", "Whether Postgres answered", value=bool(found)
        )
        yield from found


@login_not_required
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """404 unless the request has the token of the settings or comes straight from an address that
    they allow.
    """
    if not (_has_token(request) or _comes_from_allowed(request)):
        raise Http404
    return HttpResponse(generate_latest(REGISTRY), content_type=CONTENT_TYPE_LATEST)


def _has_token(request: HttpRequest) -> bool:
    wanted, given = settings.STILLROOM_METRICS_TOKEN, request.headers.get("Authorization", "")
    return bool(wanted) and hmac.compare_digest(given.encode(), f"Bearer {wanted}".encode())


def _comes_from_allowed(request: HttpRequest) -> bool:
    """What came through a proxy says nothing of where it began."""
    if request.headers.get("X-Forwarded-For") or request.headers.get("Forwarded"):
        return False
    try:
        address = ipaddress.ip_address(request.META.get("REMOTE_ADDR", ""))
    except ValueError:
        return False
    return any(address in network for network in settings.STILLROOM_METRICS_ADDRESSES)


def _runs() -> Iterator[Metric]:
    states = GaugeMetricFamily("stillroom_runs", "Runs by state", labels=["state"])
    known = dict(Run.objects.values_list("state").annotate(number=Count("pk")))
    for state in State.values:
        states.add_metric([state], known.get(state, 0))
    yield states
    active = Run.objects.filter(state__in=ACTIVE)
    behind = [
        summary.get("behind_s") or 0.0 for summary in active.values_list("summary", flat=True)
    ]
    yield GaugeMetricFamily(
        "stillroom_ingest_behind_seconds",
        "How far the run is behind that catches up longest",
        value=max([0.0, *behind]),
    )
    oldest = active.aggregate(heard=Min("last_event_at"), alive=Min("heartbeat_at"))
    waiting = Run.objects.filter(state=State.QUEUED).aggregate(since=Min("created_at"))
    for name, text, since in (
        (
            "stillroom_silent_seconds",
            "Since the most silent active run was heard of",
            oldest["heard"],
        ),
        (
            "stillroom_supervisor_heartbeat_age_seconds",
            "Since the longest silent supervisor was heard of",
            oldest["alive"],
        ),
        (
            "stillroom_queue_oldest_seconds",
            "Since the oldest queued run was made",
            waiting["since"],
        ),
    ):
        yield GaugeMetricFamily(name, text, value=_age(since))


def _machines() -> Iterator[Metric]:
    nodes = Node.objects.aggregate(
        number=Count("pk"), draining=Count("pk", filter=Q(draining=True)), beat=Max("heartbeat_at")
    )
    yield GaugeMetricFamily(
        "stillroom_machines", "Machines that have ever registered", value=nodes["number"]
    )
    yield GaugeMetricFamily(
        "stillroom_machines_draining", "Machines that take no new work", value=nodes["draining"]
    )
    yield GaugeMetricFamily(
        "stillroom_sweep_age_seconds",
        "Since any machine's sweep last ran",
        value=_age(nodes["beat"]),
    )
    devices = GaugeMetricFamily(
        "stillroom_devices", "Devices by kind and whether they are held", labels=["kind", "held"]
    )
    for kind in Kind.values:
        of_kind = Device.objects.filter(kind=kind, retired=False)
        devices.add_metric([kind, "no"], of_kind.filter(allocated_to="").count())
        devices.add_metric([kind, "yes"], of_kind.exclude(allocated_to="").count())
    yield devices
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_database_size(current_database())")
        yield GaugeMetricFamily(
            "stillroom_database_bytes", "Size of the database", value=cursor.fetchone()[0]
        )


def _age(since: datetime | None) -> float:
    return 0.0 if since is None else max(0.0, (timezone.now() - since).total_seconds())


REGISTRY.register(Database())
