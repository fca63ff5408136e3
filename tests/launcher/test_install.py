"""What the system lacks is installed from packages, or one sentence says what to type."""

from __future__ import annotations

import subprocess
import sys
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
