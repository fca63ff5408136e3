"""An offline run of Weights & Biases keeps its name, config, summary, end, tables and images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.clients.test_importers import framed, items, message, values
from webapp.access.models import Team
from webapp.clients.importers import import_runs
from webapp.library import artifacts
from webapp.runs.models import Event, Run, State
from webapp.series import series_store

pytestmark = pytest.mark.django_db

TABLE = {"columns": ["q", "a"], "data": [["1 + 1", 2]]}


def nested(outer: str, inner: dict[str, Any]) -> bytes:
    """A value as W&B writes a dictionary: an item for each of its values."""
    return b"".join(
        message(
            1,
            message(2, outer.encode())
            + message(2, name.encode())
            + message(16, json.dumps(value).encode()),
        )
        for name, value in inner.items()
    )


def history(step: int, *parts: bytes, **logged: Any) -> bytes:
    moment = {"_step": step, "_timestamp": 1.7e9 + step, "_runtime": 1.0}
    return message(2, items({**logged, **moment}) + b"".join(parts))


def run_record(**changes: bytes) -> bytes:
    config = items({"lr": 0.1, "api_key": "s3cret-abcdef", "model": {"layers": 2}, "_wandb": {}})
    return message(
        17,
        message(1, b"abc123")
        + message(3, b"sums")
        + message(4, config)
        + message(6, b"ablation")
        + message(8, changes.get("name", "brave run ä".encode()))
        + message(10, b"small")
        + message(10, b"first"),
    )


def records(exit_code: int | None) -> list[bytes]:
    table = {"_type": "table-file", "path": "media/table/t.table.json", "ncols": 2, "nrows": 1}
    image = {"_type": "image-file", "path": "media/images/x.png", "caption": "black", "width": 4}
    gone = {"_type": "image-file", "path": "media/images/gone.png"}
    outside = {"_type": "image-file", "path": "../secret.png"}
    histogram = {"_type": "histogram", "values": [1, 2], "bins": [0, 1, 2]}
    exit = [] if exit_code is None else [message(18, message_code(exit_code))]
    return [
        run_record(),
        message(5, items({"lr": 0.2})),
        history(0, nested("hist", histogram), loss=2.0, note="a"),
        message(3, items({"loss": 2.0})),
        history(
            1,
            nested("rows", table),
            nested("img", image),
            nested("gone", gone),
            nested("outside", outside),
            loss=1.0,
            deep={"kl": 3.0},
        ),
        message(3, items({"loss": 1.0, "best": 0.5, "verdict": "good", "_runtime": 3})),
        *exit,
    ]


def message_code(code: int) -> bytes:
    return b"" if code == 0 else bytes([1 << 3, code])


def folder(path: Path, exit_code: int | None = 0) -> Path:
    """The folder of an offline run, as W&B leaves it."""
    files = path / "offline-run-1" / "files"
    for name, content in (
        ("media/table/t.table.json", json.dumps(TABLE).encode()),
        ("media/images/x.png", b"\x89PNG\r\n\x1a\n"),
    ):
        (files / name).parent.mkdir(parents=True)
        (files / name).write_bytes(content)
    (path / "offline-run-1" / "secret.png").write_bytes(b"secret")
    write(path, records(exit_code))
    return path


def write(path: Path, content: list[bytes]) -> None:
    (path / "offline-run-1" / "run-abc123.wandb").write_bytes(framed(content))


def test_an_offline_run_keeps_what_its_files_have(still: Team, tmp_path: Path) -> None:
    for _ in range(2):
        [run] = import_runs(folder_once(tmp_path), "wandb", still, None, "p")
    assert (run.name, run.state, run.reason) == ("brave run ä", State.COMPLETED, "")
    assert run.origin.project.name == "sums"
    assert run.origin.params == {"lr": 0.2, "api_key": "***", "model/layers": 2}
    assert run.origin.tags == {
        "group": "ablation",
        "tags": "small, first",
        "summary/verdict": "good",
    }
    # A result of the summary is a value at the last step.
    assert values(run) == [
        ("best", 1, 0.5),
        ("deep/kl", 1, 3.0),
        ("loss", 0, 2.0),
        ("loss", 1, 1.0),
    ]
    files = {file.path: file for file in run.files.select_related("artifact")}
    assert set(files) == {"media/table/t.table.json", "media/images/x.png"}
    table, image = files["media/table/t.table.json"], files["media/images/x.png"]
    assert table.artifact is not None and (table.key, table.step) == ("rows", 1)
    with artifacts.open(still, table.artifact.sha256) as stream:
        assert json.load(stream) == TABLE
    assert (image.key, image.caption) == ("img", "black")
    assert run.origin.not_kept == ["gone", "hist", "note", "outside"]
    assert not Event.objects.filter(run=run, type="log").exists()


def folder_once(path: Path) -> Path:
    return path if (path / "offline-run-1").exists() else folder(path)


@pytest.mark.parametrize(
    ("exit_code", "state", "reason"),
    [
        (3, State.FAILED, "Its process ended with exit code 3."),
        (None, State.STOPPED, "The files do not say how the run ended."),
    ],
)
def test_a_run_ends_as_its_process_did(
    still: Team, tmp_path: Path, exit_code: int | None, state: str, reason: str
) -> None:
    [run] = import_runs(folder(tmp_path, exit_code), "wandb", still, None, "p")
    assert (run.state, run.reason) == (state, reason)
    # The results are added when the process has ended.
    assert ("best" in series_store.keys(run)) == (exit_code is not None)


def test_a_file_that_grows_gets_its_end_and_its_results_once(still: Team, tmp_path: Path) -> None:
    path = folder(tmp_path)
    for count in (3, 6, 7, 7):
        write(path, records(0)[:count])
        [run] = import_runs(path, "wandb", still, None, "p")
    assert run.state == State.COMPLETED and Run.objects.count() == 1
    assert [value for value in values(run) if value[0] == "best"] == [("best", 1, 0.5)]


def test_a_file_beyond_the_limit_is_said_in_the_runs_log(
    still: Team, tmp_path: Path, settings: Any
) -> None:
    settings.STILLROOM_FILE_BYTES = 10
    [run] = import_runs(folder(tmp_path), "wandb", still, None, "p")
    line = Event.objects.get(run=run, type="log")
    assert "t.table.json has 47 bytes; a file of a run may have 10" in line.payload["message"]
    assert [file.path for file in run.files.all()] == ["media/images/x.png"]
    assert "rows" in run.origin.not_kept


def test_text_columns_of_an_export_are_named(still: Team, tmp_path: Path) -> None:
    (tmp_path / "run.csv").write_text("_step,loss,note\n0,1,good\n1,2,\n")
    [run] = import_runs(tmp_path, "wandb", still, None, "p")
    assert run.origin.not_kept == ["note"]
