"""Durable ingest over HTTP by Stillroom, MLflow on Postgres, and Trackio.

Either 8 writers send 100 points per request and wait for each answer, or one writer sends 1,000
values of 500 metrics beside another writer of another run. All servers run on this machine;
Stillroom and MLflow use one Postgres with its usual (durable) settings. The servers are measured in
turn. Stillroom and Trackio are one process each, MLflow has two workers. The writers of a protocol
are the same for both servers.
"""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import services, turns
from bench.alternate import spread

SECONDS = 8
TURNS = 3
START_SECONDS = 120
TRACKIO_TOKEN = "bench"
TRACKIO = (
    "import sys, trackio; trackio.show(open_browser=False, block_thread=True, "
    "server_port=int(sys.argv[1]))"
)


@dataclass(frozen=True)
class Server:
    """A server under measurement; `other_token` is that of another team, if there are teams."""

    protocol: str
    address: str
    token: str
    other_token: str


def measure() -> list[dict[str, Any]]:
    """One row per server and protocol with median, minimum and maximum over the turns."""
    with _servers() as servers:
        commands = {
            name: turns.ours(
                "bench.ingest.writers", server.protocol, server.address, server.token, str(SECONDS)
            )
            for name, server in servers.items()
        }
        results = turns.take(commands, TURNS)
    return [{"server": name, **_row(results[name])} for name in servers]


def measure_wide() -> list[dict[str, Any]]:
    """One row per server and protocol: wide batches, another writer alone and beside them."""
    with _servers() as servers:
        commands = {
            name: turns.ours(
                "bench.ingest.beside",
                server.protocol,
                server.address,
                server.token,
                server.other_token,
                str(SECONDS),
            )
            for name, server in servers.items()
        }
        results = turns.take(commands, TURNS)
    return [{"server": name, **_wide_row(results[name])} for name in servers]


@contextmanager
def _servers() -> Iterator[dict[str, Server]]:
    with ExitStack() as stack:
        folder = stack.enter_context(services.services())
        stillroom, _ = stack.enter_context(services.web_server(folder / "web.log"))
        tokens = _tokens()
        mlflow = stack.enter_context(_mlflow(folder))
        trackio = stack.enter_context(_trackio(folder))
        yield {
            "Stillroom, MLflow's interface": Server("mlflow", stillroom, *tokens),
            "MLflow on Postgres": Server("mlflow", mlflow, *tokens),
            "Stillroom, Trackio's interface": Server("trackio", stillroom, *tokens),
            "Trackio": Server("trackio", trackio, TRACKIO_TOKEN, TRACKIO_TOKEN),
        }


def _row(results: Sequence[dict[str, float]]) -> dict[str, Any]:
    return {
        "points/s": spread([result["points_per_second"] for result in results]),
        **{
            name: statistics.median(result[name] for result in results)
            for name in ("p50_ms", "p95_ms")
        },
    }


def _wide_row(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    names = ("wide_p50_ms", "wide_p95_ms", "alone_p95_ms", "beside_p95_ms", "history_p50_ms")
    return {
        **{name: statistics.median(result[name] for result in results) for name in names},
        "beside / alone": spread(
            [result["beside_p95_ms"] / result["alone_p95_ms"] for result in results]
        ),
    }


def _tokens() -> tuple[str, str]:
    """A token of each of two new teams; Django is set up on the private database."""
    import django

    django.setup()
    from webapp.access import api_tokens, members
    from webapp.access.models import Scope

    person = members.create_account("bench@stillroom.example", "a long enough phrase", "Bench")
    first, second = (
        api_tokens.make(members.create_team(name, person), "bench", Scope.LOG, person)
        for name in ("Bench", "Other")
    )
    return first, second


@contextmanager
def _mlflow(folder: Path) -> Iterator[str]:
    """MLflow's own server with two workers, on a separate database in the same Postgres.

    On a busy machine its supervisor would end workers that answer slowly, so its timeout is raised;
    its job execution is switched off.
    """
    import psycopg

    url = os.environ["DATABASE_URL"]
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE mlflow")
    store = url.replace("postgresql:///stillroom", "postgresql+psycopg2:///mlflow")
    with _served(
        folder / "mlflow.log",
        lambda port: [
            *turns.tracker(
                "mlflow",
                "server",
                "--backend-store-uri",
                store,
                "--artifacts-destination",
                str(folder / "mlflow"),
            ),
            *(
                "--port",
                port,
                "--workers",
                "2",
                "--uvicorn-opts",
                "--timeout-worker-healthcheck 120",
            ),
        ],
        "/health",
        {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
    ) as address:
        yield address


@contextmanager
def _trackio(folder: Path) -> Iterator[str]:
    """Trackio's own server, on a folder of its own."""
    environment = {
        "TRACKIO_DIR": str(folder / "trackio"),
        "TRACKIO_WRITE_TOKEN": TRACKIO_TOKEN,
        "HF_HUB_OFFLINE": "1",
    }
    with _served(
        folder / "trackio.log",
        lambda port: [str(turns.TRACKERS), "-c", TRACKIO, port],
        "/version",
        environment,
    ) as address:
        yield address


@contextmanager
def _served(
    log: Path, command: Callable[[str], list[str]], path: str, environment: dict[str, str]
) -> Iterator[str]:
    """A peer's server, killed with its whole process group, because not all end on SIGTERM."""
    port = services.free_port()
    with log.open("wb") as stream:
        server = subprocess.Popen(
            command(str(port)),
            stdout=stream,
            stderr=stream,
            env={**os.environ, **environment},
            cwd=log.parent,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not services.answers(f"http://127.0.0.1:{port}{path}"):
            if server.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"a peer's server did not start: {log.read_text()[-2000:]}")
            time.sleep(0.2)
        yield f"127.0.0.1:{port}"
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
