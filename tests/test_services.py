"""Postgres and Redis of the test session answer at the addresses in the environment."""

from __future__ import annotations

import os

import psycopg
import redis


def test_postgres_answers_where_database_url_says(services: None) -> None:
    with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
        assert connection.execute("SELECT 6 * 7").fetchone() == (42,)


def test_redis_answers_where_redis_url_says(services: None) -> None:
    assert redis.Redis.from_url(os.environ["REDIS_URL"]).ping()
