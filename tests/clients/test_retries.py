"""While we cannot take more, stock clients keep what they have and send it again; nothing is lost
and nothing counts twice.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.clients.cable import Cable, through_cable
from tests.clients.conftest import SCRIPTS, client_environment
from tests.clients.server import serving
from tests.clients.test_logging import entry, send
from webapp.runs.models import Event, Run
from webapp.series import series_store

pytestmark = pytest.mark.django_db(transaction=True)
PATIENCE_SECONDS = 60
CLIENTS = (("trackio_slow.py", "trackio"), ("mlflow_slow.py", "sync"), ("mlflow_slow.py", "async"))


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.1)


def all_have_logged(count: int) -> bool:
    runs = list(Run.objects.filter(name__in=[name for _, name in CLIENTS]))
    return len(runs) == len(CLIENTS) and all(
        sum(1 for _ in series_store.export_rows(run)) >= count for run in runs
    )


def started(address: str, token: str, home: Path) -> list[subprocess.Popen[str]]:
    """Every stock client as a program that logs until its file `stop` appears."""
    processes = []
    for script, name in CLIENTS:
        folder = home / name
        folder.mkdir()
        command = [sys.executable, str(SCRIPTS / script), name]
        pipes: dict[str, Any] = {
            "stdout": subprocess.PIPE,
            "stderr": subprocess.STDOUT,
            "text": True,
        }
        processes.append(
            subprocess.Popen(
                command, cwd=folder, env=client_environment(address, token, folder), **pipes
            )
        )
    return processes


def stop(home: Path) -> None:
    for _, name in CLIENTS:
        (home / name / "stop").touch()


def assert_whole(clients: Sequence[subprocess.Popen[str]]) -> None:
    """Every value that each client logged is there, once."""
    for client, (_, name) in zip(clients, CLIENTS, strict=True):
        output, _ = client.communicate(timeout=120)
        logged = re.search(r"logged (\d+)", output)
        assert client.returncode == 0 and logged is not None, output
        values = [
            row[3] for row in series_store.export_rows(Run.objects.get(name=name), abandoned=True)
        ]
        assert sorted(values) == [float(i) for i in range(int(logged[1]))], name


def metric(address: str, token: str, run: str, step: int) -> httpx2.Response:
    body = {"run_id": run, "key": "loss", "value": 1.0, "timestamp": 1000, "step": step}
    return httpx2.post(
        f"{address}/api/2.0/mlflow/runs/log-metric",
        headers={"Authorization": f"Bearer {token}"},
        json=body,
    )


def new_run(address: str, token: str) -> str:
    answer = httpx2.post(
        f"{address}/api/2.0/mlflow/runs/create",
        headers={"Authorization": f"Bearer {token}"},
        json={"run_name": "other"},
    )
    return str(answer.json()["run"]["info"]["run_id"])


@pytest.fixture
def cable(child_environment: dict[str, str], tmp_path: Path) -> Iterator[tuple[Cable, str]]:
    """A server with its cable to Postgres."""
    with (
        tempfile.TemporaryDirectory() as folder,
        through_cable(child_environment, Path(folder)) as (cable, environment),
        serving(environment, tmp_path / "server.log") as address,
    ):
        yield cable, address


def test_an_outage_of_postgres_loses_nothing(
    cable: tuple[Cable, str], token: str, tmp_path: Path
) -> None:
    """Not of the stock clients, nor of an alert, which Trackio's client sends only once: the server
    keeps its request until then.
    """
    wire, address = cable
    run = new_run(address, token)
    clients = started(address, token, tmp_path)
    until(lambda: all_have_logged(10))
    wire.pull()
    away = metric(address, token, run, 1)
    assert (
        away.status_code == 503
        and int(away.headers["Retry-After"]) >= 2
        and "nothing counts twice" in away.json()["message"]
    )
    with ThreadPoolExecutor(1) as pool:
        alert = {**entry(3), "title": "Look", "level": "warn", "alert_id": "a"}
        waiting = pool.submit(send, address, token, alert, path="bulk_alert", name="alerts")
        time.sleep(1.5)
        stop(tmp_path)
        time.sleep(0.5)
        wire.plug_in()
        assert waiting.result(60).status_code == 200
    assert_whole(clients)
    assert metric(address, token, run, 1).status_code == 200
    assert Event.objects.get(run__name="r", type="log").payload["message"] == "Look"


def test_a_team_above_its_rate_waits_and_loses_nothing(
    child_environment: dict[str, str], token: str, tmp_path: Path
) -> None:
    with serving(
        {**child_environment, "STILLROOM_LOG_RATE": "50"}, tmp_path / "server.log"
    ) as address:
        run = new_run(address, token)
        clients = started(address, token, tmp_path)
        until(lambda: all_have_logged(3))
        answers: list[httpx2.Response] = []
        points = [{"key": f"k{i}", "value": 1.0, "timestamp": 1} for i in range(400)]
        while not any(answer.status_code == 429 for answer in answers):
            headers = {"Authorization": f"Bearer {token}"}
            answers.append(
                httpx2.post(
                    f"{address}/api/2.0/mlflow/runs/log-batch",
                    headers=headers,
                    json={"run_id": run, "metrics": points},
                )
            )
        assert int(answers[-1].headers["Retry-After"]) >= 1
        time.sleep(1.0)
        stop(tmp_path)
        assert_whole(clients)
