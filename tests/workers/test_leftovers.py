"""What killed trainers, supervisors and writers of the artifact store leave behind is removed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from itertools import chain
from pathlib import Path
from typing import Any

import psutil
import pytest
from django.core.files.storage import storages
from django.utils import timezone

from webapp.access.models import Team
from webapp.library import artifacts
from webapp.runs import deletion, leases, lifecycle
from webapp.runs.models import Run, State
from workers.attempt import checkpoints
from workers.attempt.exit_recorder import write_atomically
from workers.attempt.supervisor_start import supervise
from workers.attempt.trainer_process import TrainerProcess
from workers.machine import host, removed_runs
from workers.process_identity import identity

# In the middle of a checkpoint and of a file of rollouts, with a temporary folder, a process of its
# own that outlives it, and the reserve of its log.
TRAINER = """
import os, subprocess, sys, tempfile, time
from pathlib import Path
folder = Path(sys.argv[1])
for name in ("checkpoints/.writing-step-00000007", "side", "events"):
    (folder / name).mkdir(parents=True)
(folder / "checkpoints" / ".writing-step-00000007" / "model.safetensors").write_bytes(b"half")
(folder / "checkpoints" / "step-00000006").mkdir()
(folder / "side" / ".writing-ab12").write_bytes(b"half")
(folder / "side" / "cd34.parquet").write_bytes(b"whole")
(folder / "events" / "reserve").write_bytes(bytes(1000))
(folder / "events" / "00000001.jsonl").write_text("")
Path(tempfile.mkdtemp(prefix="vllm-"), "weights").write_bytes(b"many")
helper = subprocess.Popen(
    [sys.executable, "-c", "import time; time.sleep(600)", str(folder)],
    stdout=subprocess.DEVNULL,
    stderr=subprocess.DEVNULL,
)
(folder / "ready").write_text(f"{helper.pid} {tempfile.gettempdir()}")
time.sleep(600)
"""
WRITER = """
import sys, time
from django.core.files.base import ContentFile
import django
django.setup()
from webapp.library import artifacts

class Endless(ContentFile):
    def chunks(self, size=None):
        yield b"half of it"
        print("writing", flush=True)
        time.sleep(600)

artifacts.AtomicFolder(location=sys.argv[1])._save("ab/abcd", Endless(b""))
"""


def until(condition: Callable[[], bool]) -> None:
    # Bounded only so that a broken test ends.
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrainerProcess:
    """A trainer that is at work in its attempt's folder."""
    (tmp_path / "trainer.py").write_text(TRAINER)
    monkeypatch.setenv("STILLROOM_TRAINER", f"{sys.executable} {tmp_path / 'trainer.py'}")
    process = TrainerProcess(tmp_path / "runs" / "a-run" / "attempts" / "1")
    process.start([str(process.folder)])
    until((process.folder / "ready").exists)
    until(lambda: bool((process.folder / "ready").read_text()))
    return process


def files_of(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_killed_trainer_leaves_no_files_and_no_processes(process: TrainerProcess) -> None:
    helper, temporary = (process.folder / "ready").read_text().split()
    assert Path(temporary) != Path("/tmp") and list(Path(temporary).iterdir())
    process.remove_leftovers()
    assert (process.folder / "events" / "reserve").exists(), "nothing while the trainer runs"
    pid = process.pid()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    until(process.ended)
    process.kill()
    process.remove_leftovers()

    until(lambda: not psutil.pid_exists(int(helper)))
    assert not Path(temporary).exists()
    assert files_of(process.folder) == {
        *("ready", "process.json", "exit.json", "stdout.log", "shim.lock"),
        *("side/cd34.parquet", "events/00000001.jsonl"),
    }
    assert [path.name for path in (process.folder / "checkpoints").iterdir()] == ["step-00000006"]


@pytest.mark.parametrize("hours", [-2, 2])
def test_a_living_trainer_is_found_and_left_alone_after_its_clock_was_set(
    process: TrainerProcess, hours: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, boot_time = time.time, psutil.boot_time()
    monkeypatch.setattr(time, "time", lambda: now() + 3600 * hours)
    monkeypatch.setattr("psutil._pslinux.boot_time", lambda: boot_time + 3600 * hours)

    assert process.pid() is not None and not process.ended()
    process.remove_leftovers()
    assert (process.folder / "checkpoints" / ".writing-step-00000007").exists()
    process.kill()
    until(process.ended)
    process.remove_leftovers()
    assert not (process.folder / "checkpoints" / ".writing-step-00000007").exists()


def test_a_process_of_another_boot_is_not_taken_for_the_trainer(tmp_path: Path) -> None:
    """After a restart of the host the same pid may have started at the same second."""
    process = TrainerProcess(tmp_path)
    own = identity(os.getpid())
    for boot, is_alive in ((own["boot"], True), ("another boot", False)):
        ids = {role: own | {"boot": boot} for role in ("trainer", "shim")}
        write_atomically(tmp_path / "process.json", ids)
        assert (process.pid() is not None, process.ended()) == (is_alive, not is_alive)


def test_a_trainer_of_an_earlier_version_is_found(tmp_path: Path) -> None:
    ids = {"pid": os.getpid(), "started": identity(os.getpid())["started"]}
    write_atomically(tmp_path / "process.json", {"trainer": ids, "shim": ids})

    assert TrainerProcess(tmp_path).pid() == os.getpid()


@pytest.mark.django_db
def test_the_supervisor_removes_what_the_trainer_left(settings: Any, tmp_path: Path) -> None:
    settings.STILLROOM_STATE = tmp_path
    team = Team.objects.create(name="Cellar", slug="cellar")
    run = lifecycle.create_run(team, None, {"name": "run"})
    assert leases.claim(run.pk, host.name())
    folder = host.attempt_folder(run.public_id, 1)
    (folder / "checkpoints" / ".writing-step-00000007").mkdir(parents=True)
    dead = {"pid": 0, "started": 0.0}
    write_atomically(folder / "process.json", {"trainer": dead, "shim": dead})
    report = {"code": None, "signal": 9, "out_of_memory": False, "max_rss_bytes": 0}
    write_atomically(folder / "exit.json", report)
    supervise(run.public_id, 1)

    assert Run.objects.get(pk=run.pk).state == State.FAILED
    assert list((folder / "checkpoints").iterdir()) == []


@pytest.mark.django_db
def test_what_a_killed_supervisor_fetched_is_removed_by_the_next_one(tmp_path: Path) -> None:
    team = Team.objects.create(name="Cellar", slug="cellar")
    run = lifecycle.create_run(team, None, {"name": "run"})
    incoming = tmp_path / "attempts" / "1" / "checkpoints" / ".incoming-step-00000003"
    incoming.mkdir(parents=True)
    (incoming / "model.safetensors").write_bytes(b"half")

    assert checkpoints.fetch_newest(run, tmp_path) is None
    assert not incoming.exists()


@pytest.mark.django_db
def test_parts_of_artifacts_are_removed_only_after_their_writer_was_killed(
    settings: Any, tmp_path: Path
) -> None:
    store = {"OPTIONS": {"location": tmp_path}}
    settings.STORAGES = settings.STORAGES | {"artifacts": settings.STORAGES["artifacts"] | store}
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)],
        env=os.environ | {"DJANGO_SETTINGS_MODULE": "webapp.settings"},
        cwd=Path(__file__).resolve().parents[2],
        stdout=subprocess.PIPE,
    )
    assert writer.stdout is not None and writer.stdout.readline() == b"writing\n"
    # As after a step of the clock, and after days of writing.
    for path in (tmp_path / "ab").iterdir():
        os.utime(path, (0, 0))
    artifacts.collect()
    assert len(files_of(tmp_path)) == 1
    writer.kill()
    writer.communicate()
    artifacts.collect()

    assert isinstance(storages["artifacts"], artifacts.AtomicFolder)
    assert files_of(tmp_path) == set()


@pytest.mark.django_db
def test_the_folders_of_a_run_go_when_it_is_removed_for_good(tmp_path: Path, settings: Any) -> None:
    team = Team.objects.create(slug="still", name="Still")
    settings.STILLROOM_STATE = tmp_path
    kept, hidden, removed = (lifecycle.create_run(team, None, None, name="r") for _ in range(3))
    unknown = tmp_path / "runs" / "unknown"
    unknown.mkdir(parents=True)
    folders = {
        run: [tmp_path / kind / run.public_id for kind in ("runs", "checkpoints")]
        for run in (kept, hidden, removed)
    }
    for folder in chain.from_iterable(folders.values()):
        (folder / "attempts" / "1").mkdir(parents=True)
    now = timezone.now()
    Run.objects.filter(pk=hidden.pk).update(deleted_at=now - timedelta(hours=23))
    Run.objects.filter(pk=removed.pk).update(deleted_at=now - timedelta(hours=25))
    assert removed_runs.remove_folders() == 0
    deletion.remove_expired()
    assert removed_runs.remove_folders() == 2
    assert not any(folder.exists() for folder in folders[removed])
    # Whose folder the third one is, this database does not know.
    assert all(folder.exists() for folder in [*folders[kept], *folders[hidden], unknown])
