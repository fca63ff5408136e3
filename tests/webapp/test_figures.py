"""Figures about ourselves: who may read them, and that they are true."""

from __future__ import annotations

from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test import Client
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from tests.webapp.logs import losses
from webapp.access.models import Team, User
from webapp.ingest.event_log import ingest
from webapp.nodes.models import Device, Node
from webapp.pages.site import prometheus
from webapp.runs import leases, lifecycle
from webapp.runs.models import Run, State

pytestmark = pytest.mark.django_db
TOKEN = "a-token-for-prometheus"


@pytest.fixture
def scrape(client: Client, settings: Any) -> Any:
    """Reads the figures: (name, labels) → value."""
    settings.STILLROOM_METRICS_TOKEN = TOKEN

    def read() -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        text = client.get("/metrics", headers={"authorization": f"Bearer {TOKEN}"}).content.decode()
        samples = [
            sample for family in text_string_to_metric_families(text) for sample in family.samples
        ]
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value for sample in samples
        }

    return read


def test_nobody_may_read_them_unless_an_operator_says_who(client: Client, alice: User) -> None:
    client.force_login(alice)
    assert client.get("/metrics").status_code == 404
    assert client.get("/metrics", headers={"authorization": "Bearer "}).status_code == 404


def test_a_wrong_token_is_refused(client: Client, settings: Any) -> None:
    settings.STILLROOM_METRICS_TOKEN = TOKEN
    assert client.get("/metrics", headers={"authorization": f"Bearer {TOKEN}x"}).status_code == 404
    assert client.get("/metrics", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200


def test_an_allowed_address_needs_no_token_but_must_ask_directly(
    client: Client, settings: Any
) -> None:
    settings.STILLROOM_METRICS_ADDRESSES = (ip_network("10.1.0.0/16"),)
    assert client.get("/metrics", REMOTE_ADDR="10.1.2.3").status_code == 200
    assert client.get("/metrics", REMOTE_ADDR="10.2.2.3").status_code == 404
    assert (
        client.get(
            "/metrics", REMOTE_ADDR="10.1.2.3", headers={"x-forwarded-for": "203.0.113.9"}
        ).status_code
        == 404
    )


def test_runs_and_machines_are_counted(scrape: Any, run: Run, still: Team, tmp_path: Path) -> None:
    working = lifecycle.create_run(still, None, run.spec)
    leases.claim(working.pk, "host-a")
    ingest(working.pk, 1, losses(1, 3), tmp_path, more=True)
    node = Node.objects.create(name="forge", address="10.0.0.1", cpus=8, memory_bytes=2**34)
    Device.objects.create(node=node, kind="cuda", index=0, allocated_to="run/abc/1")
    Device.objects.create(node=node, kind="cuda", index=1)
    figures = scrape()
    assert figures["stillroom_runs", (("state", "queued"),)] == 1
    assert figures["stillroom_runs", (("state", "running"),)] == 1
    assert figures["stillroom_runs", (("state", "failed"),)] == 0
    assert figures["stillroom_devices", (("held", "yes"), ("kind", "cuda"))] == 1
    assert figures["stillroom_devices", (("held", "no"), ("kind", "cuda"))] == 1
    assert figures["stillroom_ingest_behind_seconds", ()] > 1000  # the recorded events are old
    assert 0 <= figures["stillroom_sweep_age_seconds", ()] < 60
    assert figures["stillroom_database_up", ()] == 1


def test_a_run_that_a_client_left_is_no_silent_trainer(scrape: Any, still: Team) -> None:
    Run.objects.create(
        team=still,
        name="left",
        source=Run.Source.CLIENT,
        state=State.RUNNING,
        last_event_at=timezone.now() - timedelta(days=7),
    )
    assert scrape().get(("stillroom_silent_seconds", ()), 0) == 0


def test_without_postgres_the_figures_of_the_process_are_still_told(
    scrape: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> Any:
        raise OperationalError("connection refused")

    monkeypatch.setattr(prometheus, "_run_gauges", refuse)
    figures = scrape()
    assert figures["stillroom_database_up", ()] == 0
    assert ("stillroom_live_frames_total", ()) in figures


def test_requests_are_timed_by_view(scrape: Any, client: Client, alice: User, run: Run) -> None:
    labels = (("method", "GET"), ("status", "2xx"), ("view", "run"))
    before = scrape().get(("stillroom_request_seconds_count", labels), 0)
    client.force_login(alice)
    client.get(f"/runs/{run.public_id}/")
    figures = scrape()
    assert figures["stillroom_request_seconds_count", labels] == before + 1


def test_no_label_names_a_team_a_person_or_a_run(
    scrape: Any, client: Client, alice: User, run: Run
) -> None:
    client.force_login(alice)
    client.get(f"/runs/{run.public_id}/")
    labels = " ".join(value for _, pairs in scrape() for _, value in pairs)
    assert run.public_id not in labels and "still" not in labels and "alice" not in labels


def test_the_database_is_only_asked_when_somebody_reads() -> None:
    with connection.execute_wrapper(lambda *_: pytest.fail("the database was asked")):
        assert list(prometheus.DatabaseCollector().describe()) == []
