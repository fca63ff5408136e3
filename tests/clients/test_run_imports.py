"""Runs are imported on a page: beside its requests, within bounds, and with what came of it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from tests.clients.test_importers import FILES, values, zipped
from tests.webapp.conftest import charlie  # noqa: F401
from tests.webapp.pages.test_new_run import as_
from webapp.access.models import Team, User
from webapp.clients import run_imports
from webapp.clients.importers import UnreadableFile, recognition
from webapp.clients.models import RunImport
from webapp.library import bounded_process
from webapp.runs.models import Run

on_commit = pytest.mark.django_db(transaction=True)
TABLE = b"_step,loss\n0,1\n1,0.5\n"


@pytest.fixture(autouse=True)
def _own_uploads(settings: Any, tmp_path: Path) -> None:
    settings.UPLOADS = tmp_path / "uploads"
    settings.UPLOADS.mkdir()
    settings.FILE_UPLOAD_TEMP_DIR = str(settings.UPLOADS)


def send(client: Client, *files: SimpleUploadedFile, format: str = "wandb") -> Any:
    return client.post("/runs/bring/", {"format": format, "project": "p", "files": files})


def bring(client: Client, *files: SimpleUploadedFile, format: str = "wandb") -> str:
    """Import files as a browser does; return the page of the import when it has ended."""
    answer = send(client, *files, format=format)
    assert answer.status_code == 302
    wait_for_the_end()
    page: str = client.get(answer["Location"]).content.decode()
    assert "hx-get" not in page
    return page


def wait_for_the_end() -> None:
    """The files of an import are removed last."""
    deadline = time.monotonic() + 120
    while left():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert not RunImport.objects.filter(ended_at=None).exists()


def left() -> list[str]:
    return os.listdir(settings.UPLOADS)


@on_commit
def test_the_page_of_an_import_names_runs_repetitions_and_errors(still: Team, erin: User) -> None:
    client = as_(erin)
    page = client.get("/runs/new/").content.decode()
    assert "/runs/bring/" in page and client.get("/runs/bring/").status_code == 200
    file = (FILES / "tensorboard" / "train" / "events.out.tfevents.1795400000.machine").read_bytes()
    events = {"logs/a/events.out.tfevents.1": file}
    page = bring(client, zipped(**events), format="tensorboard")
    run = Run.objects.get()
    assert (run.name, run.owner, run.origin.project.name) == ("logs/a", erin, "p")
    count = len(values(run)) + 1  # one of them is NaN
    assert f'href="/runs/{run.public_id}/">logs/a</a>' in page and f"{count} imported" in page

    events["logs/b/events.out.tfevents.1"] = b"no events of TensorBoard"
    page = bring(client, zipped(**events), format="tensorboard")
    assert "nothing new: already imported" in page and f"{count} imported" not in page
    assert "no record of TensorBoard" in page and "What was read before that is stored." in page


@on_commit
def test_a_page_of_another_team_is_not_shown(
    still: Team,
    erin: User,
    charlie: User,  # noqa: F811
) -> None:
    answer = send(as_(erin), SimpleUploadedFile("a.csv", TABLE))
    assert as_(charlie).get(answer["Location"]).status_code == 404
    wait_for_the_end()


@on_commit
def test_an_import_has_a_deadline_and_keeps_what_it_read(
    still: Team, erin: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_imports, "MOST_SECONDS", 0.0)
    page = bring(as_(erin), SimpleUploadedFile("a.csv", TABLE))
    assert "takes more than the 0 s that are allowed" in page


MLFLOW_TABLE = b"run_id,key,value,step,timestamp\nr,loss,1,0,1000\n"


@pytest.mark.parametrize(
    ("files", "format"),
    [
        ({"a.csv": TABLE}, "wandb"),
        ({"a.jsonl": b'{"_step": 0, "loss": 1}\n'}, "wandb"),
        ({"a.csv": b"Step,one - loss,two - loss\n0,1,2\n"}, "wandb"),
        ({"run-1.wandb": b"x"}, "wandb"),
        ({"notes.csv": b"", "history.csv": MLFLOW_TABLE}, "mlflow"),
        ({"1/r/meta.yaml": b"", "1/r/metrics/loss": b""}, "mlflow"),
        ({"logs/events.out.tfevents.1": b"x", "config.csv": b"a,b\n1,2\n"}, "tensorboard"),
        ({"a.csv": b"epoch,loss\n0,1\n", "b.jsonl": b"no json", "c.txt": b""}, None),
    ],
)
def test_the_tracker_is_recognised_by_its_files(
    tmp_path: Path, files: dict[str, bytes], format: str | None
) -> None:
    for name, content in files.items():
        file = tmp_path / "upload" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    assert recognition.format_of(tmp_path / "upload") == format


def test_files_of_two_trackers_are_not_guessed_at(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(TABLE)
    (tmp_path / "b.csv").write_bytes(MLFLOW_TABLE)
    with pytest.raises(UnreadableFile, match="Several trackers wrote these files"):
        recognition.format_of(tmp_path)


@on_commit
def test_files_are_imported_without_a_chosen_format(still: Team, erin: User) -> None:
    page = as_(erin).get("/runs/bring/").content.decode()
    assert '<option value="" selected>Recognise the tracker' in page
    bring(as_(erin), SimpleUploadedFile("a.csv", TABLE), format="")
    run = Run.objects.get()
    assert run.origin.client == "wandb"
    # The table does not say how the run ended, and nor does the list.
    assert ">unknown</span>" in as_(erin).get("/").content.decode()
    problem = bring(as_(erin), SimpleUploadedFile("a.csv", b"epoch,loss\n0,1\n"), format="")
    assert "None of the files looks like one of a known tracker" in problem


@pytest.mark.django_db
def test_what_a_child_brings_before_it_ends_early_is_shown(
    still: Team, erin: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = as_(erin)
    send(client, SimpleUploadedFile("a.csv", TABLE))
    run = Run.objects.create(team=still, name="a", source=Run.Source.IMPORTED)
    seen = []

    def child(*_: Any, follow: Any, **__: Any) -> None:
        follow("“a”: 2 values so far")
        follow((run.public_id, 2))
        follow(None)
        seen.append(RunImport.objects.values_list("progress", "results").get())
        raise bounded_process.TooMuchMemory(bounded_process.TOO_MUCH_MEMORY)

    monkeypatch.setattr(bounded_process, "run", child)
    row = RunImport.objects.get()
    run_imports.execute(row)
    assert seen == [("“a”: 2 values so far", [[run.public_id, 2]])]
    row.refresh_from_db()
    assert "208 MB of memory" in row.problem and row.results == [[run.public_id, 2]]
    assert left() == []


@pytest.mark.django_db
def test_an_import_whose_files_a_restart_has_removed_says_so(still: Team, erin: User) -> None:
    client = as_(erin)
    answer = send(client, SimpleUploadedFile("a.csv", TABLE))
    restart = "import sys; from pathlib import Path; from webapp.base import leftovers; "
    restart += "leftovers.remove(Path(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", restart, str(settings.UPLOADS)], check=True)
    assert left() == []
    run_imports.execute(RunImport.objects.get())
    page = client.get(answer["Location"]).content.decode()
    assert "The server was restarted during the import" in page and "Import other files" in page


@pytest.mark.django_db
def test_a_team_has_a_limit_of_unfinished_imports(
    still: Team, erin: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_imports, "MOST_UNFINISHED", 1)
    client = as_(erin)
    assert send(client, SimpleUploadedFile("a.csv", TABLE)).status_code == 302
    answer = send(client, SimpleUploadedFile("a.csv", TABLE))
    assert answer.status_code == 422 and "1 imports that have not ended" in answer.content.decode()
    run_imports.IMPORTS.claim()
    assert "Importing" in client.get(f"/runs/bring/{RunImport.objects.get().pk}/").content.decode()
