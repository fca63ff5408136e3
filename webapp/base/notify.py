"""The doorbell: a notice on Redis that Postgres has news of a run. Losing one loses nothing,
because the hub also looks by itself.
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


def publish_on_commit(public_id: str, news: int) -> None:
    """Ring once the surrounding transaction is committed, so that whoever hears it finds the
    news.
    """
    transaction.on_commit(lambda: publish(public_id, news))


def publish(public_id: str, news: int) -> None:
    """Publish that run `public_id` stands at batch `news`. Never raises: Redis is only a
    doorbell.
    """
    publish_all({public_id: news})


def publish_all(news: Mapping[str, int]) -> None:
    """`publish` for several runs in one trip."""
    try:
        with _client().pipeline(transaction=False) as pipeline:
            for public_id, batch in news.items():
                pipeline.publish(PREFIX + public_id, json.dumps({"news": batch}))
            pipeline.execute()
    except redis.RedisError as problem:
        process_metrics.NOTIFY_FAILURES.labels(end="ring").inc()
        log.warning(
            "Redis did not take the notice of runs %s (%s); readers will look by themselves.",
            ", ".join(news),
            problem,
        )


@cache
def _client() -> redis.Redis:
    return redis.Redis.from_url(
        settings.REDIS_URL, socket_connect_timeout=1, socket_timeout=1, retry=Retry(NoBackoff(), 0)
    )
