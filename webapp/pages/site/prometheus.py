"""`/metrics` for Prometheus: counters of this process and gauges of the whole installation."""

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
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from webapp.base.database_clock import database_now
from webapp.nodes.models import Device, Kind, Node
from webapp.runs.models import ACTIVE, Run, State


class DatabaseCollector(Collector):
    """Gauges of the whole installation, read from Postgres at each scrape."""

    def describe(self) -> Iterable[Metric]:
        # Without this method the registry calls `collect` when this module is imported.
        return ()

    def collect(self) -> Iterator[Metric]:
        # The counters of this process are reported even while Postgres is away.
        try:
            gauges = [*_run_gauges(), *_machine_gauges()]
        except Error:
            gauges = []
        yield GaugeMetricFamily(
            "stillroom_database_up", "Whether Postgres answered", value=bool(gauges)
        )
        yield from gauges


@login_not_required
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Return the metrics for a request with the metrics token or from an allowed address.

    Anyone else gets 404, so that the address does not reveal itself.
    """
    token, header = settings.STILLROOM_METRICS_TOKEN, request.headers.get("Authorization", "")
    # Without a configured token, "Bearer " must not pass for it.
    has_token = bool(token) and hmac.compare_digest(header.encode(), f"Bearer {token}".encode())
    if not (has_token or _is_from_allowed_address(request)):
        raise Http404
    return HttpResponse(generate_latest(REGISTRY), content_type=CONTENT_TYPE_LATEST)


def _is_from_allowed_address(request: HttpRequest) -> bool:
    # Behind a proxy REMOTE_ADDR is the proxy's, and the forwarding headers can be forged.
    if request.headers.get("X-Forwarded-For") or request.headers.get("Forwarded"):
        return False
    try:
        address = ipaddress.ip_address(request.META.get("REMOTE_ADDR", ""))
    except ValueError:
        return False
    return any(address in network for network in settings.STILLROOM_METRICS_ADDRESSES)


def _run_gauges() -> Iterator[Metric]:
    states = GaugeMetricFamily("stillroom_runs", "Runs by state", labels=["state"])
    present = Run.objects.filter(deleted_at=None)
    counts = dict(present.values_list("state").annotate(number=Count("pk")))
    for state in State.values:
        states.add_metric([state], counts.get(state, 0))
    yield states
    active = Run.objects.filter(state__in=ACTIVE)
    behind = [
        summary.get("behind_s") or 0.0 for summary in active.values_list("summary", flat=True)
    ]
    yield GaugeMetricFamily(
        "stillroom_ingest_behind_seconds",
        "Largest delay of an active run between event log and database",
        value=max([0.0, *behind]),
    )
    # A run of a client may end without saying so, and is then active for ever.
    oldest = active.filter(source=Run.Source.MANAGED).aggregate(
        event=Min("last_event_at"), heartbeat=Min("heartbeat_at")
    )
    waiting = Run.objects.filter(state=State.QUEUED).aggregate(since=Min("created_at"))
    for name, text, since in (
        (
            "stillroom_silent_seconds",
            "Time since the last event of the active managed run that is silent longest",
            oldest["event"],
        ),
        (
            "stillroom_supervisor_heartbeat_age_seconds",
            "Time since the oldest heartbeat of a supervisor",
            oldest["heartbeat"],
        ),
        (
            "stillroom_queue_oldest_seconds",
            "Time since the oldest queued run was created",
            waiting["since"],
        ),
    ):
        yield GaugeMetricFamily(name, text, value=_age(since))


def _machine_gauges() -> Iterator[Metric]:
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
        "Time since a machine last swept for lost runs",
        value=_age(nodes["beat"]),
    )
    devices = GaugeMetricFamily(
        "stillroom_devices",
        "Devices by kind and whether they are allocated",
        labels=["kind", "held"],
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
    return 0.0 if since is None else max(0.0, (database_now() - since).total_seconds())


REGISTRY.register(DatabaseCollector())
