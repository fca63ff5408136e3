"""Errors of the operating system become sentences that say what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from workers.launcher import errors


def test_a_full_disk_is_named() -> None:
    with pytest.raises(OSError) as caught:
        Path("/dev/full").write_text("x")

    assert str(errors.from_os_error(caught.value, "writing the settings")) == (
        "The disk is full: writing the settings failed. Free some space and start again."
    )


def test_a_full_disk_explains_a_service_without_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(errors, "FULL_BYTES", 2**62)

    assert str(errors.service_not_started("Postgres", tmp_path / "log", tmp_path)).startswith(
        "The disk is full: Postgres cannot write in"
    )


def test_a_missing_permission_names_the_folder() -> None:
    error = PermissionError(13, "Permission denied", "/srv/stillroom/var")

    assert "at /srv/stillroom/var: no permission to write" in str(
        errors.from_os_error(error, "making the folders")
    )
