"""Clones in folders that an unprivileged account can enter; pytest's own folders are closed."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from workers.launcher.child_process import ChildProcess
from workers.launcher.services import folders as service_folders
from workers.launcher.services.folders import Folders
from workers.launcher.services.start import start_postgres


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """An empty folder that everybody may enter."""
    folder = Path(tempfile.mkdtemp(prefix="stillroom-launcher-", dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def prepare(
    open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[Path], Folders]]:
    """Prepare a clone's folders; those outside the clone are removed after the test."""
    state = open_folder / "state"
    state.mkdir()
    monkeypatch.setenv("STATE_DIRECTORY", str(state))
    prepared: list[Folders] = []

    def prepare_one(clone: Path) -> Folders:
        clone.mkdir(parents=True, exist_ok=True)
        prepared.append(service_folders.prepare(clone))
        return prepared[-1]

    yield prepare_one
    for folders in prepared:
        shutil.rmtree(folders.sockets, ignore_errors=True)


@pytest.fixture
def started(prepare: Callable[[Path], Folders]) -> Iterator[Callable[[Path], str]]:
    """Start a clone's Postgres and return its address; it is stopped after the test."""
    children: list[ChildProcess] = []

    def start(clone: Path) -> str:
        child, url = start_postgres(prepare(clone))
        children.append(child)
        return url

    yield start
    for child in children:
        child.stop(20)


def modes(path: Path) -> dict[Path, int]:
    """The mode of every parent folder."""
    return {parent: os.stat(parent).st_mode for parent in path.parents}


def answer(url: str) -> tuple[object, ...] | None:
    with psycopg.connect(url) as connection:
        return connection.execute("SELECT current_database()").fetchone()
