"""What the system lacks is installed from packages, or one sentence says what to type."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from workers.launcher import install
from workers.launcher.errors import LauncherError
from workers.launcher.nodejs import find_nodejs


def test_node_and_npm_come_from_the_wheel_where_the_system_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    node = find_nodejs(Path(sys.executable))

    assert node is not None
    version = subprocess.run(
        [*node.npm, "--version"], env=node.environment(), capture_output=True, text=True, check=True
    ).stdout
    assert int(version.split(".")[0]) >= 10


def test_an_old_node_of_the_system_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("node", "npm"):
        (tmp_path / name).write_text("#!/bin/sh\necho v18.20.4\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    node = find_nodejs(Path(sys.executable))

    assert node is not None and not node.node.startswith(str(tmp_path))


def test_without_root_a_missing_browser_is_reported_with_the_command_to_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(
        LauncherError, match="Type: sudo apt-get install --yes --no-install-recommends chromium"
    ):
        install.browser()


def test_a_missing_venv_module_is_reported_with_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(install, "PYTHON", tmp_path / "bin" / "python")
    monkeypatch.setattr(install, "VENV", tmp_path / "venv")
    monkeypatch.setattr(sys, "executable", "/bin/false")

    with pytest.raises(LauncherError, match="apt-get install python3-venv"):
        install.environment()


def test_a_failed_installation_shows_its_last_lines_and_how_to_repeat_it() -> None:
    with pytest.raises(
        LauncherError, match=r"(?s)no such thing\npip could not install .* repeat: sh -c"
    ):
        install.quietly(
            ["sh", "-c", "echo no such thing; exit 1"], "pip", {"PATH": "/bin:/usr/bin"}
        )


class Machine:
    """A clone with lock files whose installation is recorded instead of executed.

    `commands` are the programs that were called since the last call of `install`; `failing` is the
    program that fails.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.commands: list[str] = []
        self.failing = ""

    def run(self, command: Sequence[str], program: str, variables: Mapping[str, str]) -> None:
        self.commands.append(program)
        if program == self.failing:
            raise LauncherError(f"{program} was interrupted")
        if program == "npm":
            (self.folder / "node_modules").mkdir(exist_ok=True)

    def make_environment(self) -> None:
        if not install.PYTHON.exists():
            self.commands.append("venv")
            install.PYTHON.parent.mkdir(parents=True)
            install.PYTHON.symlink_to(sys.executable)

    def install(self, purpose: str = "test") -> list[str]:
        """Install and return the programs that were called for it."""
        self.commands.clear()
        install.main(purpose)
        return self.commands.copy()


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = Machine(tmp_path)
    for name in (*install.LOCKS.values(), "package.json", "package-lock.json"):
        (tmp_path / name).write_text(f"the first {name}")
    monkeypatch.setattr(install, "CLONE", tmp_path)
    monkeypatch.setattr(install, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(install, "PYTHON", tmp_path / ".venv" / "bin" / "python")
    monkeypatch.setattr(install, "quietly", machine.run)
    monkeypatch.setattr(install, "environment", machine.make_environment)
    monkeypatch.setattr(install, "browser", lambda: None)
    return machine


def test_what_is_installed_is_not_installed_again(machine: Machine) -> None:
    assert machine.install() == ["venv", "pip", "npm"]
    assert machine.install() == []
    assert machine.install("run") == [], "tests need all that running needs"


def test_an_installation_to_run_is_completed_for_tests(machine: Machine) -> None:
    machine.install("run")
    assert machine.install() == ["pip", "npm"]
    assert machine.install("run") == []


@pytest.mark.parametrize(
    ("file", "programs"),
    [
        ("requirements.lock", ["pip"]),
        ("requirements-dev.lock", ["pip"]),
        ("package.json", ["npm"]),
        ("package-lock.json", ["npm"]),
    ],
)
def test_a_changed_lock_file_is_installed(machine: Machine, file: str, programs: list[str]) -> None:
    machine.install()
    (machine.folder / file).write_text("changed")
    assert machine.install() == programs
    assert machine.install() == []


def test_another_python_gets_its_packages(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.install()
    monkeypatch.setattr(sys, "version", "3.99.0")
    assert machine.install() == ["pip"]


@pytest.mark.parametrize(
    ("folder", "programs"), [(".venv", ["venv", "pip"]), ("node_modules", ["npm"])]
)
def test_a_removed_folder_is_installed_again(
    machine: Machine, folder: str, programs: list[str]
) -> None:
    machine.install()
    shutil.rmtree(machine.folder / folder)
    assert machine.install() == programs


@pytest.mark.parametrize(
    ("program", "file"), [("pip", "requirements-dev.lock"), ("npm", "package-lock.json")]
)
def test_an_interrupted_installation_is_repeated_even_with_the_earlier_lock_file(
    machine: Machine, program: str, file: str
) -> None:
    machine.install()
    lock = machine.folder / file
    earlier = lock.read_text()
    lock.write_text("changed")
    machine.failing = program
    with pytest.raises(LauncherError, match="interrupted"):
        machine.install()

    lock.write_text(earlier)
    machine.failing = ""
    assert machine.install() == [program]


def test_an_environment_whose_creation_was_interrupted_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python is there before pip is."""
    monkeypatch.setattr(install, "VENV", tmp_path / "venv")
    monkeypatch.setattr(install, "PYTHON", tmp_path / "venv" / "bin" / "python")
    command = [sys.executable, "-m", "venv", "--without-pip", str(install.VENV)]
    subprocess.run(command, check=True)
    (install.VENV / "of the first").touch()
    install.environment()

    assert not (install.VENV / "of the first").exists()
    subprocess.run([str(install.PYTHON), "-m", "pip", "--version"], check=True)
    (install.VENV / "of the second").touch()
    install.environment()
    assert (install.VENV / "of the second").exists(), "a whole environment stays"
