"""Postgres starts however an earlier start has ended, or one sentence says what to do."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from tests.launcher.conftest import answer
from workers.launcher.child_process import ChildProcess
from workers.launcher.errors import LauncherError
from workers.launcher.services import account, postgres
from workers.launcher.services.folders import Folders
from workers.launcher.services.start import start_postgres


@pytest.fixture
def data(open_folder: Path) -> Path:
    return open_folder / "clone" / "var" / "postgres"


@pytest.fixture
def stranger() -> Iterator[int]:
    """Return the pid of an unrelated living process that runs under the services' account."""
    process = subprocess.Popen(["sleep", "60"], **account.services_account().popen())
    yield process.pid
    process.kill()
    process.wait()


def _start(folders: Folders) -> ChildProcess:
    return start_postgres(folders)[0]


def test_written_rows_are_there_after_a_restart(
    open_folder: Path, prepare: Callable[[Path], Folders]
) -> None:
    child, url = start_postgres(prepare(open_folder / "clone"))
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS one")
    child.stop(20)
    child, url = start_postgres(prepare(open_folder / "clone"))
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT one FROM kept").fetchone() == (1,)
    child.stop(20)


def test_a_pid_file_of_an_unrelated_process_is_removed(
    open_folder: Path,
    data: Path,
    stranger: int,
    started: Callable[[Path], str],
    prepare: Callable[[Path], Folders],
) -> None:
    folders = prepare(open_folder / "clone")
    _start(folders).stop(20)
    for pid_file in (data / "postmaster.pid", folders.sockets / postgres.SOCKET_LOCK):
        pid_file.write_text(f"{stranger}\n{data}\n1700000000\n5432\n/tmp\n\n0 0\nready\n")

    assert answer(started(open_folder / "clone")) == ("stillroom",)


def test_the_server_of_a_killed_launcher_is_stopped_first(
    open_folder: Path, started: Callable[[Path], str], prepare: Callable[[Path], Folders]
) -> None:
    earlier = _start(prepare(open_folder / "clone")).process

    assert answer(started(open_folder / "clone")) == ("stillroom",)
    assert earlier is not None and earlier.wait(60) == 0


def test_an_incomplete_data_folder_is_made_again(
    open_folder: Path, data: Path, started: Callable[[Path], str]
) -> None:
    half = data.with_name("postgres.partial")
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")

    assert answer(started(open_folder / "clone")) == ("stillroom",)
    assert not half.exists()


def test_a_damaged_data_folder_is_named_and_not_changed(
    open_folder: Path, data: Path, prepare: Callable[[Path], Folders]
) -> None:
    data.mkdir(parents=True)
    (data / "base").mkdir()

    with pytest.raises(
        LauncherError,
        match=r"var/postgres is not whole .* Restore it from a backup, or move it away",
    ):
        start_postgres(prepare(open_folder / "clone"))
    assert (data / "base").exists()


def test_a_data_folder_of_another_version_is_named(
    open_folder: Path, data: Path, prepare: Callable[[Path], Folders]
) -> None:
    (data / "global").mkdir(parents=True)
    (data / "global" / "pg_control").touch()
    (data / "PG_VERSION").write_text("15\n")

    with pytest.raises(
        LauncherError,
        match=r"made by Postgres 15, this is Postgres 18\. Upgrade it with pg_upgrade",
    ):
        start_postgres(prepare(open_folder / "clone"))


def test_a_full_disk_is_reported_and_no_data_folder_is_left(
    open_folder: Path,
    data: Path,
    prepare: Callable[[Path], Folders],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(postgres, "FIRST_START_BYTES", shutil.disk_usage(open_folder).total + 1)

    with pytest.raises(
        LauncherError,
        match=r"The disk is full: making the database folder failed at .* Free some space",
    ):
        start_postgres(prepare(open_folder / "clone"))
    assert not data.exists()


def test_a_server_that_cannot_start_says_why(
    open_folder: Path, data: Path, prepare: Callable[[Path], Folders]
) -> None:
    _start(prepare(open_folder / "clone")).stop(20)
    (data / "postgresql.conf").write_text("shared_buffers = nonsense\n")

    with pytest.raises(
        LauncherError,
        match=r"Postgres did not start: .*configuration file .* contains errors .*postgres\.log",
    ):
        start_postgres(prepare(open_folder / "clone"))
