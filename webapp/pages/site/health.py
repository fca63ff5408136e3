"""Whether this process answers, and whether it can do its work: asked by the launcher, load
balancers and orchestrators.
"""

from __future__ import annotations

import logging
from functools import cache

import redis
from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.db import Error, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_safe
from redis.backoff import NoBackoff
from redis.retry import Retry

from webapp.library import artifacts

log = logging.getLogger(__name__)
OK = "ok"


@login_not_required
@require_safe
def healthz(request: HttpRequest) -> JsonResponse:
    """200 as long as the process answers at all."""
    return JsonResponse({"ok": True})


@login_not_required
@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """200 if pages can be served, else 503, and what each part says. Redis is a doorbell: without
    it pages are only slower to follow.
    """
    database = _database()
    parts = {
        "postgres": database,
        "migrations": _migrations() if database == OK else "unknown",
        "artifacts": _store(),
        "redis": _redis(),
    }
    ready = all(parts[name] == OK for name in ("postgres", "migrations", "artifacts"))
    return JsonResponse({"ready": ready, **parts}, status=200 if ready else 503)


def _database() -> str:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except Error as problem:
        log.warning("not ready: Postgres does not answer: %s", problem)
        return "does not answer"
    return OK


def _migrations() -> str:
    missing = _missing_migrations()
    if not missing:
        return OK
    # They may be applied any moment; that they are applied stays true
    _missing_migrations.cache_clear()
    return f"{missing} not applied"


@cache
def _missing_migrations() -> int:
    executor = MigrationExecutor(connection)
    return len(executor.migration_plan(executor.loader.graph.leaf_nodes()))


def _store() -> str:
    try:
        artifacts.check()
    except OSError as problem:
        log.warning("not ready: the artifact store cannot be written: %s", problem)
        return "cannot be written"
    return OK


def _redis() -> str:
    try:
        with redis.Redis.from_url(
            settings.REDIS_URL,
            socket_connect_timeout=1,
            socket_timeout=1,
            retry=Retry(NoBackoff(), 0),
        ) as client:
            client.ping()
    except (redis.RedisError, OSError):
        return "degraded: does not answer"
    return OK
