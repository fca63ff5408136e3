"""`python -m bench series`: chart data over HTTP, requested as each tracker's own page does.

All trackers hold the same numbers, one key with a single spike. Those of MLflow and Trackio are
written to their tables directly, because only reading is measured. MLflow holds only the metrics
that are read, which can only favour it. STILLROOM_BENCH_METRICS sets the number of metrics of the
wide run (default 500).
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any
from urllib.parse import quote

from bench.services import free_port
from bench.store import material, site
from bench.turns import TRACKERS
from workers.launcher.services.postgres import USER, Postgres

STEPS, WIDTH, SPIKE, TURNS = 100_000, 1000, 54_321, 9
FIRST_SCREEN = [f"group/metric_{number}" for number in range(12)]
METRICS = int(os.environ.get("STILLROOM_BENCH_METRICS", "500"))
ALL = [f"group/metric_{number}" for number in range(METRICS)]
Ask = Callable[[], tuple[float, bytes]]


def measure() -> list[dict[str, Any]]:
    with site.database() as server, ExitStack() as stack, tempfile.TemporaryDirectory() as folder:
        stillroom, mlflow, trackio = _Ours(stack), _MLflow(server, stack), _Trackio(folder, stack)
        runs = {name: material.new_run(name) for name in ("one", "wide", "short", "long")}
        _fill(runs["one"], ["loss"], STEPS)
        _fill(runs["wide"], ALL, STEPS)
        _fill(runs["short"], ["loss"], 10_000)
        _fill(runs["long"], ["loss"], 1_000_000)
        times = _in_turn(
            {
                "Stillroom, one series of 100,000": stillroom.asks(runs["one"], ["loss"]),
                "MLflow, one series of 100,000": mlflow.asks(["loss"]),
                "Trackio, one series of 100,000": trackio.asks(),
                "Stillroom, 10,000": stillroom.asks(runs["short"], ["loss"]),
                "Stillroom, 1,000,000": stillroom.asks(runs["long"], ["loss"]),
                f"Stillroom, 12 charts of {METRICS} metrics × 100,000": stillroom.asks(
                    runs["wide"], FIRST_SCREEN
                ),
                "MLflow, 12 charts of metrics × 100,000": mlflow.asks(FIRST_SCREEN),
            }
        )
    return [_row(name, seconds, content) for name, (seconds, content) in times.items()]


def _row(name: str, seconds: list[float], content: bytes) -> dict[str, Any]:
    spike_kept = f"{material.SPIKE:.0f}".encode() in content
    times = {"median ms": statistics.median(seconds), "least": min(seconds), "most": max(seconds)}
    return {
        "what": name,
        **{label: round(1000 * time, 1) for label, time in times.items()},
        "kB": len(content) // 1000,
        "spike kept": spike_kept,
    }


def _in_turn(asks: dict[str, Ask]) -> dict[str, tuple[list[float], bytes]]:
    """Each request once to warm up, then all in turn, in alternating order."""
    contents = {name: ask()[1] for name, ask in asks.items()}
    times: dict[str, list[float]] = {name: [] for name in asks}
    for turn in range(TURNS):
        for name in sorted(asks, reverse=bool(turn % 2)):
            times[name].append(asks[name]()[0])
    return {name: (times[name], contents[name]) for name in asks}


def _fill(run: Any, keys: list[str], steps: int) -> None:
    from webapp.series import series_store

    for start in range(0, steps, 5000):
        material.append(run, list(material.rows(keys, material.single, start, start + 5000, SPIKE)))
    series_store.compact(run)


class _Ours:
    """The page's own endpoint, as somebody who is signed in."""

    def __init__(self, stack: ExitStack) -> None:
        from django.conf import settings
        from django.test import Client

        from webapp.access.models import Membership, Team, User

        user = User.objects.create_user("bench@stillroom.example", name="Bench")
        team, _ = Team.objects.get_or_create(slug="bench", defaults={"name": "Bench"})
        Membership.objects.create(team=team, user=user, role="viewer")
        client = Client()
        client.force_login(user)
        port = free_port()
        stack.enter_context(site.serving(site.web(port), port, "/version"))
        cookie = (
            f"{settings.SESSION_COOKIE_NAME}={client.cookies[settings.SESSION_COOKIE_NAME].value}"
        )
        self._caller = site.Caller(port, {"Cookie": cookie})

    def asks(self, run: Any, keys: list[str]) -> Ask:
        path = f"/runs/{run.public_id}/series.json?width={WIDTH}&keys={quote(','.join(keys))}"
        return lambda: self._caller.timed("GET", path)


class _MLflow:
    """Its server on the same Postgres. Its page asks for each chart by itself."""

    def __init__(self, server: Postgres, stack: ExitStack) -> None:
        import psycopg

        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute("CREATE DATABASE mlflow")
        address = f"postgresql+psycopg2://{USER}@/mlflow?host={server.sockets}"
        port = free_port()
        command = [
            str(TRACKERS.parent / "mlflow"),
            "server",
            "--backend-store-uri",
            address,
            "--port",
            str(port),
            "--workers",
            "1",
        ]
        settings = {
            "PATH": f"{TRACKERS.parent}{os.pathsep}{os.environ['PATH']}",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        }
        stack.enter_context(site.serving(command, port, "/health", settings))
        self._caller = site.Caller(port)
        _, answer = self._caller.timed(
            "POST", "/api/2.0/mlflow/runs/create", json.dumps({"experiment_id": "0"}).encode()
        )
        self._run = json.loads(answer)["run"]["info"]["run_id"]
        with psycopg.connect(server.url, dbname="mlflow", autocommit=True) as connection:
            for key in ("loss", *FIRST_SCREEN):
                columns = "metrics (key, value, timestamp, run_uuid, step, is_nan)"
                with (
                    connection.cursor() as cursor,
                    cursor.copy(f"COPY {columns} FROM STDIN") as copy,
                ):
                    for row in material.rows([key], material.single, 0, STEPS, SPIKE):
                        copy.write_row(
                            (
                                key,
                                row["values"][key],
                                int(1000 * row["wall_time"]),
                                self._run,
                                row["step"],
                                False,
                            )
                        )
            # Rows that were copied in have no statistics yet, and the planner would scan the table.
            connection.execute("ANALYZE")

    def asks(self, keys: list[str]) -> Ask:
        paths = [
            "/ajax-api/2.0/mlflow/metrics/get-history-bulk-interval"
            f"?run_ids={self._run}&metric_key={quote(key)}&max_results={WIDTH}"
            for key in keys
        ]

        def ask() -> tuple[float, bytes]:
            answers = [self._caller.timed("GET", path) for path in paths]
            return sum(seconds for seconds, _ in answers), b"".join(
                content for _, content in answers
            )

        return ask


class _Trackio:
    """Its dashboard's server, on its own SQLite file."""

    def __init__(self, folder: str, stack: ExitStack) -> None:
        port = free_port()
        command = [
            str(TRACKERS),
            "-m",
            "bench.store.trackio_server",
            str(port),
            str(STEPS),
            str(SPIKE),
        ]
        stack.enter_context(site.serving(command, port, "/version", {"TRACKIO_DIR": folder}))
        self._caller = site.Caller(port)

    def asks(self) -> Ask:
        body = json.dumps({"project": "bench", "run": "one"}).encode()
        return lambda: self._caller.timed("POST", "/api/get_logs", body)
