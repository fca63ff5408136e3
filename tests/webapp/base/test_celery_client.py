"""Waking a worker: a message by name, and no harm done if it cannot be sent."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import redis
from django.conf import settings

from webapp.base import celery_client


@pytest.fixture(autouse=True)
def _fresh_client(services: None) -> Iterator[None]:
    """A client of this test's own."""
    celery_client._client.cache_clear()
    yield
    celery_client._client.cache_clear()


def test_a_task_is_sent_by_name() -> None:
    with redis.Redis.from_url(settings.REDIS_URL) as queue:
        queue.delete("runs")
        celery_client.wake_placement()
        message = json.loads(queue.rpop("runs") or "{}")
    assert message["headers"]["task"] == "workers.place"
    assert message["headers"]["expires"], (
        "a message that nobody took in time is about nothing any more"
    )
    assert message["content-type"] == "application/json"


def test_without_redis_nothing_is_raised(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    celery_client.wake_placement()
    assert "the sweep will find the work" in caplog.text
