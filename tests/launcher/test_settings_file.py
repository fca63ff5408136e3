"""`var/env` is readable by its owner only and keeps the operator's lines."""

from __future__ import annotations

from pathlib import Path

from webapp.base import environment
from workers.launcher import settings_file


def test_the_first_start_makes_a_secret_key_that_others_cannot_read(tmp_path: Path) -> None:
    settings_file.write(tmp_path / "env", settings_file.operator_lines(tmp_path / "env"), {})

    assert (tmp_path / "env").stat().st_mode & 0o777 == 0o600
    assert len(environment.read({}, tmp_path / "env").secret_key) > 50


def test_a_later_start_keeps_key_and_operator_lines_and_replaces_the_addresses(
    tmp_path: Path,
) -> None:
    file = tmp_path / "env"
    settings_file.write(file, settings_file.operator_lines(file), {"REDIS_URL": "unix:///old"})
    key = environment.read({}, file).secret_key
    file.write_text(f"STILLROOM_PORT=9000\n{file.read_text()}")
    file.chmod(0o644)
    settings_file.write(file, settings_file.operator_lines(file), {"REDIS_URL": "unix:///new"})
    settings = environment.read({}, file)

    assert (settings.secret_key, settings.port, settings.redis_url) == (key, 9000, "unix:///new")
    assert file.stat().st_mode & 0o777 == 0o600
