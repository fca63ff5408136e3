"""`var/env`: secret, and the operator's own lines stay."""

from __future__ import annotations

from pathlib import Path

from webapp.base import environment
from workers.launcher import settings_file


def test_the_first_start_makes_a_secret_key_that_nobody_else_reads(tmp_path: Path) -> None:
    settings_file.write(tmp_path / "env", settings_file.operator_lines(tmp_path / "env"), {})

    assert (tmp_path / "env").stat().st_mode & 0o777 == 0o600
    assert len(environment.read({}, tmp_path / "env").secret_key) > 50


def test_a_later_start_keeps_the_key_and_the_operators_lines_and_renews_the_addresses(
    tmp_path: Path,
) -> None:
    file = tmp_path / "env"
    settings_file.write(file, settings_file.operator_lines(file), {"REDIS_URL": "unix:///old"})
    key = environment.read({}, file).secret_key
    file.write_text(f"STILLROOM_PORT=9000\n{file.read_text()}")
    file.chmod(0o644)
    settings_file.write(file, settings_file.operator_lines(file), {"REDIS_URL": "unix:///new"})
    found = environment.read({}, file)

    assert (found.secret_key, found.port, found.redis_url) == (key, 9000, "unix:///new")
    assert file.stat().st_mode & 0o777 == 0o600
