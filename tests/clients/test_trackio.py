"""The stock Trackio client logs here unchanged."""

from __future__ import annotations

import math
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.clients.conftest import SCRIPTS, Script, client_environment
from webapp.clients import file_previews
from webapp.library import artifacts
from webapp.runs.models import Event, Run, State
from webapp.series import series_store

pytestmark = pytest.mark.django_db(transaction=True)


def curve(run: Run, key: str) -> dict[float, float]:
    series = series_store.read([run], [key], width=5000)
    return dict(zip(series[0].x, series[0].mean, strict=True)) if series else {}


def test_a_stock_script_becomes_a_run_with_everything_it_said(
    site: str, token: str, script: Script
) -> None:
    output = script("trackio_run.py", site, token)

    run = Run.objects.get(name="first")
    assert (run.name, run.source, run.state, run.origin.project.name) == (
        "first",
        Run.Source.CLIENT,
        State.RUNNING,
        "sums",
    )
    losses = curve(run, "loss")
    assert list(losses) == list(range(51)) and losses[49] == 1 / 50 and math.isnan(losses[50])
    assert curve(run, "nested/kl")[49] == 24.5
    assert curve(run, "gain") == {50: math.inf}
    assert curve(run, "system/cpu") == {50: 0.5}
    assert curve(run, "on") == {50: 1.0} and (
        run.origin.params["lr"],
        run.origin.params["model/layers"],
    ) == (0.01, 2)
    assert run.origin.not_kept == ["note", "shape"]
    texts = ("report", "texts/report/50.md", "# Sums"), ("rows", "tables/rows/50.json", '[{"a": 1,')
    for key, path, start in texts:
        file = run.files.select_related("artifact").get(path=path)
        assert (file.key, file.step) == (key, 50) and file.artifact is not None
        assert artifacts.open(run.team, file.artifact.sha256).read().startswith(start.encode())
    (picture,) = run.files.filter(path__startswith="media/50/", artifact__isnull=False)
    assert (picture.key, picture.caption, picture.step) == ("picture", "all black", 50)
    assert [file.path for file in Run.objects.get(name="files").files.all()] == ["files/notes.txt"]
    lines = [
        (line.payload["level"], line.payload["message"])
        for line in Event.objects.filter(run=run, type="log").order_by("seq")
    ]
    assert ("error", "It diverged: The loss is not a number.") in lines
    assert any(
        ".html has 1,048,810 bytes; a file of a run may have 1,048,576" in message
        for _, message in lines
    )
    assert "refused: Stillroom keeps no versions of artifacts" in output


def test_runs_in_the_manner_of_trackios_examples(site: str, token: str, script: Script) -> None:
    script("trackio_examples.py", site, token)

    sweep = Run.objects.filter(origin__project__name="sweep").order_by("name")
    assert [run.name for run in sweep] == ["lr 0", "lr 1", "lr 2"]
    for index, run in enumerate(sweep):
        assert (run.origin.params["lr"], run.origin.params["_Group"]) == (
            10.0**-index,
            "learning rates",
        )
        assert series_store.keys(run) == ["train/accuracy", "train/loss", "val/loss"]
        assert list(curve(run, "train/loss")) == [0, 1, 2, 3]
    run = Run.objects.get(name="samples")
    assert run.attempt == 1 and run.origin.params["size"] == 8
    assert curve(run, "loss") == {0: 1.0, 10: 0.9, 20: 0.8} and curve(run, "extra") == {5: 3.0}
    stored = run.files.filter(artifact__isnull=False)
    tables = stored.filter(key="answers", path__startswith="tables/").order_by("step")
    assert [table.path for table in tables] == [f"tables/answers/{n}.json" for n in (0, 10, 20)]
    pictures = stored.filter(path__endswith=".png").order_by("step")
    assert [(picture.caption, picture.step) for picture in pictures] == [
        ("at 0", 0),
        ("at 10", 10),
        ("at 20", 20),
    ]
    # A picture in a table leads to its file.
    table = tables[0]
    assert table.artifact is not None
    with artifacts.open(run.team, table.artifact.sha256) as stream:
        shown = file_previews.preview(stream, table.path, table.artifact.size)
    assert [cell.path for cell in shown.rows[0]] == ["", "", pictures[0].path]


Process = tuple[str, int, str, bool]  # how it resumes, logs, requests, whether it is killed


@pytest.mark.parametrize(
    ("processes", "ends"),
    [
        ([("never", 5, "once", False), ("must", 5, "once", False)], [10]),
        ([("allow", 1, "once", False), ("allow", 1, "once", False)], [2]),
        ([("never", 5, "once", False), ("never", 3, "once", False)], [5, 3]),
        (
            [
                ("never", 5, "once", False),
                ("never", 3, "once", False),
                ("must", 2, "once", False),
            ],
            [5, 5],
        ),
        # A run that crashes twice.
        (
            [
                ("allow", 50, "often", True),
                ("must", 100, "often", True),
                ("allow", 10, "once", False),
            ],
            [160],
        ),
    ],
)
def test_a_resumed_run_continues_at_the_step_after_its_last_one(
    site: str,
    token: str,
    script: Script,
    tmp_path: Path,
    processes: list[Process],
    ends: list[int],
) -> None:
    expected = 0
    for resume, count, requests, is_killed in processes:
        expected += count
        if is_killed:
            _log_until_killed(site, token, tmp_path, [resume, str(count), requests], expected)
        else:
            script("trackio_resume.py", site, token, resume, str(count), requests)

    curves = [curve(run, "loss") for run in Run.objects.order_by("pk")]
    assert [list(values) for values in curves] == [list(range(end)) for end in ends]
    first_values = [float(index) for index in range(processes[0][1])]
    assert list(curves[0].values())[: processes[0][1]] == first_values
    assert set(Run.objects.values_list("attempt", flat=True)) == {1}


def _log_until_killed(
    site: str, token: str, folder: Path, arguments: list[str], expected: int
) -> None:
    """Kill the client once all runs together have `expected` values."""
    command = [sys.executable, str(SCRIPTS / "trackio_resume.py"), *arguments, "wait"]
    with subprocess.Popen(
        command, cwd=folder, env=client_environment(site, token, folder)
    ) as process:
        while sum(len(curve(run, "loss")) for run in Run.objects.all()) < expected:
            assert process.poll() is None
            time.sleep(0.2)
        process.kill()


def test_figures_of_the_machine_and_alerts_are_no_steps_to_resume_from(
    site: str, token: str
) -> None:
    entry = {"project": "sums", "run": "r", "run_id": "r1"}

    def last_step() -> int | None:
        answer = post(site, token, "get_run_summary", project="sums", run_id="r1")
        last_step: int | None = answer["last_step"]
        return last_step

    post(site, token, "bulk_log_system", logs=[{**entry, "metrics": {"cpu": 0.5}, "log_id": "1"}])
    post(site, token, "bulk_alert", alerts=[{**entry, "title": "Hot", "step": 0}])
    assert last_step() is None
    post(site, token, "bulk_log", logs=[{**entry, "metrics": {"loss": 1}, "step": 0}])
    assert last_step() == 0
    # A log without a number is a step too.
    post(site, token, "bulk_log", logs=[{**entry, "metrics": {"note": "text"}, "step": 1}])
    assert last_step() == 1


def post(site: str, token: str, call: str, **arguments: Any) -> Any:
    """The answer of a call of Trackio's API."""
    answer = httpx2.post(
        f"{site}/api/{call}",
        headers={"x-trackio-write-token": token},
        json={"args": [], "kwargs": arguments},
    )
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]
