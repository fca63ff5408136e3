"""How long one statement of a web process may take in Postgres, and with how many processes.

Each page and each request of a program holds one of few threads while it waits. Workers and
migrations have no limit.

A statement is executed by one process: starting others takes longer than most statements, and for
a page of few rows they read ahead far more than it shows.
"""

from __future__ import annotations

from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from psycopg.errors import QueryCanceled

SECONDS = 10
SENTENCE = (
    f"The database was stopped after {SECONDS} seconds, because it would have taken longer to "
    "answer. Ask for less (fewer words, fewer runs, a shorter range), or try again in a moment."
)


def limit_statements() -> None:
    """Limit the statements of every connection that this process opens from now on."""
    connection_created.connect(_limit, dispatch_uid="limit statements")


def lift_limit() -> None:
    """Let the statements of the current transaction take any time."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = 0")


def is_reached(error: BaseException | None) -> bool:
    """Return whether the limit ended the statement that `error` is about."""
    return isinstance(error, QueryCanceled) or isinstance(
        getattr(error, "__cause__", None), QueryCanceled
    )


# At the level of the module: Django refers to receivers weakly, so a local function would be gone
# at once.
def _limit(connection: BaseDatabaseWrapper, **_: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = %s", [f"{SECONDS}s"])
        cursor.execute("SET max_parallel_workers_per_gather = 0")
