"""Services start wherever the clone is, and no folder of another user is changed for it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.launcher.conftest import answer, modes
from workers.launcher.child_process import ChildProcess
from workers.launcher.errors import LauncherError
from workers.launcher.services import account, binaries
from workers.launcher.services.account import Account
from workers.launcher.services.folders import Folders, make_private
from workers.launcher.services.postgres import Postgres, prepare, wait_until_ready
from workers.launcher.services.start import start_postgres, start_redis


@pytest.fixture
def closed_umask() -> Iterator[None]:
    before = os.umask(0o077)
    yield
    os.umask(before)


def test_a_clone_whose_parent_is_closed_gets_its_services_and_no_mode_changes(
    open_folder: Path, started: Callable[[Path], str]
) -> None:
    """For root the data is in the state directory, because Postgres' account cannot enter.

    `var/services-folder` then says where. For others the data is in `var/`.
    """
    closed = open_folder / "closed"
    closed.mkdir(mode=0o700)
    clone = closed / "clone"
    before = modes(clone)

    assert answer(started(clone)) == ("stillroom",)
    assert modes(clone) == before
    note = clone / "var" / "services-folder"
    data = Path(note.read_text().strip()) if note.exists() else clone / "var"
    assert (data / "postgres" / "PG_VERSION").exists()
    assert data.is_relative_to(open_folder / "state") == (os.geteuid() == 0)


def test_services_start_under_a_closed_umask(
    open_folder: Path,
    prepare: Callable[[Path], Folders],
    closed_umask: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", str(open_folder / "made"))
    folders = prepare(open_folder / "clone")
    child, url = start_postgres(folders)
    child.stop(20)

    assert url.startswith("postgresql:///stillroom")


def test_what_an_earlier_version_left_open_is_closed(
    open_folder: Path, prepare: Callable[[Path], Folders]
) -> None:
    var = open_folder / "clone" / "var"
    (var / "log").mkdir(parents=True)
    (var / "log" / "first_admin.log").write_text("http://127.0.0.1:8000/sign-in/link/")
    (var / "env").write_text("SECRET_KEY=x")
    outside = open_folder / "outside"
    outside.mkdir(mode=0o755)
    (var / "artifacts").symlink_to(outside)
    for path in (var, var / "log"):
        path.chmod(0o755)
    (var / "env").chmod(0o644)

    folders = prepare(open_folder / "clone")
    assert var.stat().st_mode & 0o777 == (0o711 if folders.account.switch else 0o700)
    assert (var / "log").stat().st_mode & 0o777 == 0o700
    assert (var / "env").stat().st_mode & 0o777 == 0o600
    assert outside.stat().st_mode & 0o777 == 0o755


def test_a_clone_that_postgres_reaches_keeps_its_data_under_var(
    open_folder: Path, started: Callable[[Path], str]
) -> None:
    started(open_folder / "clone")

    assert (open_folder / "clone" / "var" / "postgres" / "PG_VERSION").exists()


def test_services_answer_in_a_path_of_150_characters(
    open_folder: Path, started: Callable[[Path], str], prepare: Callable[[Path], Folders]
) -> None:
    clone = open_folder / ("deep" * 20) / ("d" * (150 - len(str(open_folder)) - 82))
    assert len(str(clone)) == 150

    assert answer(started(clone)) == ("stillroom",)
    redis, url = start_redis(prepare(clone))
    redis.stop(5)
    assert len(url.removeprefix("unix://")) < 107


def test_sockets_are_in_a_private_folder_of_the_clone(
    open_folder: Path, prepare: Callable[[Path], Folders]
) -> None:
    first, second = prepare(open_folder / "first"), prepare(open_folder / "second")

    assert first.sockets != second.sockets
    assert first.sockets.stat().st_mode & 0o777 == 0o700


def test_an_ordinary_users_sockets_are_in_the_runtime_directory(
    open_folder: Path, prepare: Callable[[Path], Folders], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(open_folder))
    own_account = Account(os.geteuid(), os.getegid(), switch=False)
    monkeypatch.setattr(account, "services_account", lambda: own_account)

    assert prepare(open_folder / "clone").sockets.parent == open_folder


def test_a_folder_that_others_may_enter_is_refused(open_folder: Path) -> None:
    with pytest.raises(LauncherError, match=r"not a private folder of ours .* Remove it"):
        make_private(open_folder, account.services_account())


def test_copied_programs_run_where_the_installed_ones_cannot(open_folder: Path) -> None:
    """The copy is in an open folder, so that Postgres' account can run it."""
    runner = account.services_account()
    programs = binaries.copy_to_folder(binaries.find_installed(), open_folder)
    assert programs.usable_by(runner)
    (open_folder / "p").mkdir()
    runner.chown(open_folder / "p")
    server = Postgres(
        programs, open_folder / "p" / "data", open_folder / "p", open_folder / "log", runner
    )
    prepare(server, ["--no-sync"])
    child = ChildProcess("Postgres", server.command(), server.log, open_folder, {}, runner.popen())
    wait_until_ready(server, child.start())
    child.stop(20)

    assert binaries.copy_to_folder(binaries.find_installed(), open_folder) == programs
