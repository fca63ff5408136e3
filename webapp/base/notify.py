"""Notifications on Redis that a run has new rows in Postgres.

A lost notification loses no data: the hub of live pages also polls Postgres.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from functools import cache

import redis
from django.conf import settings
from django.db import transaction
from redis.backoff import NoBackoff
from redis.retry import Retry

from webapp.base import process_metrics

log = logging.getLogger(__name__)
PREFIX = "run:"


def publish_on_commit(public_id: str, batch_count: int) -> None:
    """Publish after the surrounding transaction is committed, so that readers find the rows."""
    transaction.on_commit(lambda: publish(public_id, batch_count))


def publish(public_id: str, batch_count: int) -> None:
    """Publish that run `public_id` has `batch_count` batches. Never raises: readers also poll."""
    publish_all({public_id: batch_count})


def publish_all(batch_counts: Mapping[str, int]) -> None:
    """Publish for several runs in one round trip to Redis."""
    try:
        with _client().pipeline(transaction=False) as pipeline:
            for public_id, batch_count in batch_counts.items():
                # `webapp/live/hub.py`, perhaps of another version, reads the key `news`.
                pipeline.publish(PREFIX + public_id, json.dumps({"news": batch_count}))
            pipeline.execute()
    except redis.RedisError as error:
        process_metrics.NOTIFY_FAILURES.labels(end="ring").inc()
        log.warning(
            "Redis did not accept the notification of runs %s (%s); readers will poll.",
            ", ".join(batch_counts),
            error,
        )


# One try of a second at most: redis-py would otherwise try again with growing pauses, while the
# request or the supervisor that has just recorded rows waits.
@cache
def _client() -> redis.Redis:
    return redis.Redis.from_url(
        settings.REDIS_URL, socket_connect_timeout=1, socket_timeout=1, retry=Retry(NoBackoff(), 0)
    )
