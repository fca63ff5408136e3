"""Health checks for the launcher, load balancers and orchestrators: liveness and readiness."""

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
    """Answer 200 as long as the process runs."""
    # Nothing else is checked: a failed check restarts the process, which does not fix a database.
    return JsonResponse({"ok": True})


@login_not_required
@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """Answer 200 if pages can be served, else 503, with the state of each dependency.

    Redis does not count: without it live pages only update more slowly.
    """
    database = _database()
    checks = {
        "postgres": database,
        "migrations": _migrations() if database == OK else "unknown",
        "artifacts": _store(),
        "redis": _redis(),
    }
    ready = all(checks[name] == OK for name in ("postgres", "migrations", "artifacts"))
    return JsonResponse({"ready": ready, **checks}, status=200 if ready else 503)


def _database() -> str:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except Error as error:
        log.warning("not ready: Postgres does not answer: %s", error)
        return "does not answer"
    return OK


def _migrations() -> str:
    missing = _missing_migrations()
    if not missing:
        return OK
    # Forget this answer, as the migrations may be applied at any moment. "None missing" stays
    # true, so it remains cached: the check reads every migration file.
    _missing_migrations.cache_clear()
    return f"{missing} not applied"


@cache
def _missing_migrations() -> int:
    executor = MigrationExecutor(connection)
    return len(executor.migration_plan(executor.loader.graph.leaf_nodes()))


def _store() -> str:
    try:
        artifacts.check()
    except OSError as error:
        log.warning("not ready: the artifact store cannot be written: %s", error)
        return "cannot be written"
    return OK


def _redis() -> str:
    try:
        with redis.Redis.from_url(
            settings.REDIS_URL,
            socket_connect_timeout=1,
            socket_timeout=1,
            # The client retries by default; a check must answer within seconds.
            retry=Retry(NoBackoff(), 0),
        ) as client:
            client.ping()
    except (redis.RedisError, OSError):
        return "degraded: does not answer"
    return OK
