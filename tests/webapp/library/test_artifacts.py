"""The artifact store: named by content, atomic, one row per team."""

from __future__ import annotations

import hashlib
import io
import resource
from datetime import timedelta
from pathlib import Path

import pytest
from django.core.files.storage import storages
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from webapp.access.models import Team, User
from webapp.jobs.models import Job, Shard
from webapp.library import artifacts
from webapp.library.models import Artifact, DataSet, StoredModel
from webapp.runs.models import Checkpoint, Event, Run

pytestmark = pytest.mark.django_db


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20, deadline=None
)
@given(content=st.binary(max_size=5000))
def test_a_stored_file_is_read_back_unchanged(still: Team, content: bytes) -> None:
    artifact = artifacts.put(io.BytesIO(content), still)
    assert artifact.sha256 == hashlib.sha256(content).hexdigest()
    with artifacts.open(still, artifact.sha256) as stream:
        assert stream.read() == content


def test_the_same_content_twice_is_one_artifact(still: Team, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"same")
    assert artifacts.put(tmp_path / "a", still) == artifacts.put(io.BytesIO(b"same"), still)
    assert Artifact.objects.count() == 1


def test_another_team_cannot_open_it_by_its_hash(still: Team) -> None:
    other_team = Team.objects.create(name="Other", slug="other")
    artifact = artifacts.put(io.BytesIO(b"private"), still)
    with pytest.raises(FileNotFoundError, match="holds no artifact"):
        artifacts.open(other_team, artifact.sha256)


class Failing(io.BytesIO):
    """A stream that breaks off on its second reading, as a disk may."""

    rewinds = 0

    def seek(self, offset: int, whence: int = 0) -> int:
        self.rewinds += offset == 0 and whence == 0
        return super().seek(offset, whence)

    def read(self, size: int | None = -1) -> bytes:
        if self.rewinds > 1:
            raise OSError(28, "No space left on device")
        return super().read(size)


def test_an_interrupted_write_leaves_no_file(still: Team, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space left"):
        artifacts.put(Failing(b"half"), still)
    assert not artifacts.holds(still, hashlib.sha256(b"half").hexdigest())
    assert [file for file in (tmp_path / "store").rglob("*") if file.is_file()] == []


def test_fetch_copies_to_a_new_folder(still: Team, tmp_path: Path) -> None:
    artifact = artifacts.put(io.BytesIO(b"weights"), still)
    artifacts.fetch(still, artifact.sha256, tmp_path / "new" / "student.safetensors")
    assert (tmp_path / "new" / "student.safetensors").read_bytes() == b"weights"


def test_a_copy_that_fails_leaves_no_file(still: Team, tmp_path: Path) -> None:
    """A limit on the size of files makes writing fail as a full disk does."""
    artifact = artifacts.put(io.BytesIO(bytes(3 * 2**20)), still)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            artifacts.fetch(still, artifact.sha256, tmp_path / "new" / "student.safetensors")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list((tmp_path / "new").iterdir()) == []


def test_a_damaged_artifact_is_not_copied(still: Team, tmp_path: Path) -> None:
    artifact = artifacts.put(io.BytesIO(b"weights"), still)
    artifacts.local_path(artifact.sha256).write_bytes(b"others")
    with pytest.raises(artifacts.DamagedArtifact, match=r"student\.safetensors in the store"):
        artifacts.fetch(still, artifact.sha256, tmp_path / "new" / "student.safetensors")
    assert list((tmp_path / "new").iterdir()) == []


def test_an_artifact_without_references_is_deleted_after_an_hour(still: Team, alice: User) -> None:
    named_artifact, unnamed_artifact = (
        artifacts.put(io.BytesIO(content), still) for content in (b"named", b"unnamed")
    )
    DataSet.objects.create(
        team=still,
        name="kept",
        artifact=named_artifact,
        fingerprint="f",
        filename="a.csv",
        format="csv",
        problem_count=1,
    )
    assert artifacts.collect() == 0
    Artifact.objects.update(stored_at=timezone.now() - timedelta(hours=2))
    assert artifacts.collect() == 1
    assert artifacts.holds(still, named_artifact.sha256)
    assert not artifacts.holds(still, unnamed_artifact.sha256)


def test_an_artifact_that_another_team_references_is_kept(still: Team) -> None:
    other_team = Team.objects.create(name="Other", slug="other")
    artifact, other_artifact = (
        artifacts.put(io.BytesIO(b"shared"), team) for team in (still, other_team)
    )
    Artifact.objects.filter(pk=artifact.pk).update(stored_at=timezone.now() - timedelta(hours=2))
    assert artifacts.collect() == 1
    assert artifacts.holds(other_team, other_artifact.sha256)


def test_the_store_is_the_one_that_the_settings_name() -> None:
    assert isinstance(storages["artifacts"], artifacts.AtomicFolder)


def test_collect_keeps_artifacts_of_data_sets_models_runs_and_jobs(still: Team, run: Run) -> None:
    names = ("data set", "model", "event", "checkpoint", "part", "nothing")
    artifact_by_name = {name: artifacts.put(io.BytesIO(name.encode()), still) for name in names}
    hashes = {name: artifact.sha256 for name, artifact in artifact_by_name.items()}
    DataSet.objects.create(
        team=still,
        name="kept",
        artifact=artifact_by_name["data set"],
        fingerprint="f",
        filename="a.csv",
        format="csv",
        problem_count=1,
    )
    StoredModel.objects.create(
        team=still, name="kept", hash="h", manifest={"config.json": hashes["model"]}
    )
    common = {"run": run, "attempt": 1, "step": 1}
    Event.objects.create(
        **common,
        seq=1,
        type="rollouts",
        wall_time=timezone.now(),
        payload={"file": {"sha256": hashes["event"]}},
        batch_number=1,
    )
    Checkpoint.objects.create(
        **common,
        seq=2,
        folder="step-1",
        size=1,
        manifest={"student.safetensors": {"sha256": hashes["checkpoint"], "size": 1}},
        created_at=timezone.now(),
    )
    job = Job.objects.create(team=still, name="rates", kind="pass_rates", spec={})
    Shard.objects.create(job=job, part=0, result=artifact_by_name["part"], tally={})
    Artifact.objects.update(stored_at=timezone.now() - timedelta(hours=2))
    assert artifacts.collect() == 1
    assert [name for name in names if not artifacts.holds(still, hashes[name])] == ["nothing"]
