"""The list of checkpoints, and their download as a zip file."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

from django.test import Client

from tests.webapp.recorded import recorded
from tests.webapp.streams import content_of
from webapp.access.models import Team, User
from webapp.runs.models import Run


def test_a_checkpoint_downloads_as_a_zip_of_all_its_files(
    client: Client, still: Team, alice: User, bob: User, tmp_path: Path
) -> None:
    run = recorded(still, alice, tmp_path)
    client.force_login(bob)
    assert "946 B" in client.get(f"/runs/{run.public_id}/checkpoints/").content.decode()
    response = client.get(f"/runs/{run.public_id}/checkpoints/30/download/")
    with zipfile.ZipFile(io.BytesIO(content_of(response))) as archive:
        assert archive.testzip() is None
        assert archive.read("student.safetensors") == b"weights" * 100
        assert sorted(archive.namelist()) == ["manifest.json", "state.json", "student.safetensors"]


def test_a_missing_checkpoint_is_not_found(client: Client, run: Run, bob: User) -> None:
    client.force_login(bob)
    assert client.get(f"/runs/{run.public_id}/checkpoints/30/download/").status_code == 404


def test_a_stranger_cannot_download_a_checkpoint(
    client: Client, still: Team, alice: User, charlie: User, tmp_path: Path
) -> None:
    run = recorded(still, alice, tmp_path)
    client.force_login(charlie)
    assert client.get(f"/runs/{run.public_id}/checkpoints/30/download/").status_code == 404
