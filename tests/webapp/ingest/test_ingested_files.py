"""Files that events name: stored before the row that names them, reported where they are missing,
taken later where the store is full.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.test import Client

from tests.webapp.logs import event
from tests.webapp.logs import metrics as logged
from trainer import events
from trainer.events import EventLog, read
from trainer.text.recording import side_files
from webapp.access.models import User
from webapp.ingest import files, pending_uploads
from webapp.ingest.event_log import ingest, retry_uploads
from webapp.library import artifacts
from webapp.runs import problem_results
from webapp.runs.models import Checkpoint, Event, RolloutRow, Run
from webapp.series import series_store

pytestmark = pytest.mark.django_db


def rollouts(seq: int, file: dict[str, Any]) -> dict[str, Any]:
    index = [
        {
            "problem": "p1",
            "source": "student",
            "sample": i,
            "verdict": verdict,
            "truncated": False,
            "length": 9,
            "weight": 0.5,
            "divergence": "NaN",
            "excerpt": "7 \0 " + "x" * 500,
        }
        for i, verdict in enumerate([True, None])
    ]
    return event(
        seq,
        "rollouts",
        step=4,
        stage="forward",
        role="train",
        file=file,
        kept=2,
        of=16,
        index=index,
    )


def side_file(folder: Path, content: bytes = b"parquet") -> dict[str, Any]:
    sha256 = hashlib.sha256(content).hexdigest()
    (folder / "side").mkdir(exist_ok=True)
    (folder / "side" / f"{sha256}.parquet").write_bytes(content)
    return {"name": f"{sha256}.parquet", "sha256": sha256, "rows": 2}


def test_rollouts_are_indexed_and_their_file_is_stored(claimed: Run, tmp_path: Path) -> None:
    file = side_file(tmp_path)
    for _ in range(2):
        ingest(claimed.pk, 1, [rollouts(1, file)], tmp_path)
    rows = RolloutRow.objects.filter(run=claimed).order_by("offset")
    assert [(row.offset, row.problem, row.verdict, row.artifact) for row in rows] == [
        (0, "p1", True, file["sha256"]),
        (1, "p1", None, file["sha256"]),
    ]
    assert len(rows[0].excerpt) == 240
    assert artifacts.path(claimed.team, file["sha256"]).read_bytes() == b"parquet"
    assert "index" not in Event.objects.get(run=claimed, type="rollouts").payload


def test_a_side_file_that_is_missing_or_altered_is_reported_not_indexed(
    claimed: Run, tmp_path: Path
) -> None:
    altered = side_file(tmp_path)
    (tmp_path / "side" / altered["name"]).write_bytes(b"something else")
    missing = {"name": "gone.parquet", "sha256": "0" * 64, "rows": 2}
    outside = {"name": "../../secret", "sha256": "1" * 64, "rows": 2}
    ingest(
        claimed.pk,
        1,
        [rollouts(seq, file) for seq, file in enumerate([altered, missing, outside], 1)],
        tmp_path,
    )
    troubles = [row.payload["trouble"] for row in Event.objects.filter(run=claimed).order_by("seq")]
    assert "its hash differs" in troubles[0]
    assert troubles[1] == "gone.parquet is missing"
    assert "no plain file name" in troubles[2]
    assert not RolloutRow.objects.exists()


def full(*_: Any) -> None:
    raise OSError(28, "No space left on device")


def test_a_full_disk_is_reported_and_the_ingest_continues(
    claimed: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "replace", full)
    ingest(claimed.pk, 1, [rollouts(1, side_file(tmp_path)), logged(2, 4, loss=0.5)], tmp_path)
    assert (
        Event.objects.get(run=claimed, type="rollouts").payload["trouble"]
        == "it could not be stored: No space left on device"
    )
    assert series_store.latest(claimed, ["loss"]) == {"loss": 0.5}


def test_files_that_a_full_store_refused_are_stored_later(
    claimed: Run, alice: User, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a whole log: the checkpoint counts, and the rollouts are listed, once there is room; the
    page tells of it until then.
    """
    client.force_login(alice)
    log = EventLog(tmp_path / "events", 1)
    log.emit("checkpoint", **checkpoint(tmp_path, 10))
    log.emit("metrics", step=11, values={"loss": 0.5})
    log.emit(
        "rollouts",
        **{
            key: value
            for key, value in rollouts(3, side_file(tmp_path)).items()
            if key not in events.HEAD
        },
    )
    log.close()
    with monkeypatch.context() as context:
        context.setattr(os, "replace", full)
        ingest(claimed.pk, 1, list(read(tmp_path / "events")), tmp_path)
        retry_uploads(claimed.pk, 1, tmp_path)
    assert pending_uploads.pending_seqs(claimed.pk, 1) == [1, 3]
    assert "2 files of this run: it could not be stored: No space left on device." in shown(
        client, claimed
    )
    assert not Checkpoint.objects.exists() and not RolloutRow.objects.exists()
    assert series_store.latest(claimed, ["loss"]) == {"loss": 0.5}

    before = Run.objects.get(pk=claimed.pk).batch_count
    retry_uploads(claimed.pk, 1, tmp_path)
    assert pending_uploads.pending_seqs(claimed.pk, 1) == []
    assert "could not be stored" not in shown(client, claimed)
    assert (Checkpoint.objects.get().step, RolloutRow.objects.count()) == (10, 2)
    changed_rows = Event.objects.filter(run=claimed, batch_number__gt=before)
    assert [(row.type, "trouble" in row.payload) for row in changed_rows.order_by("seq")] == [
        ("checkpoint", False),
        ("rollouts", False),
    ]


def test_a_checkpoint_removed_before_it_was_stored_is_no_longer_pending(
    claimed: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = EventLog(tmp_path / "events", 1)
    log.emit("checkpoint", **checkpoint(tmp_path, 10))
    log.close()
    with monkeypatch.context() as context:
        context.setattr(os, "replace", full)
        ingest(claimed.pk, 1, list(read(tmp_path / "events")), tmp_path)
    shutil.rmtree(tmp_path / "checkpoints")
    retry_uploads(claimed.pk, 1, tmp_path)
    assert pending_uploads.pending_seqs(claimed.pk, 1) == []
    assert "was gone before it could be stored" in Event.objects.get(run=claimed).payload["trouble"]


def shown(client: Client, run: Run) -> str:
    return client.get(f"/runs/{run.public_id}/").content.decode()


def checkpoint(folder: Path, step: int) -> dict[str, Any]:
    """Write a checkpoint as the trainer does; return what its event says."""
    checkpoint_folder = folder / "checkpoints" / f"step-{step:08d}"
    checkpoint_folder.mkdir(parents=True)
    content = {
        "student.safetensors": f"weights {step}".encode(),
        "tokenizer.json": b"the same in all",
    }
    for name, data in content.items():
        (checkpoint_folder / name).write_bytes(data)
    listed = {
        name: {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
        for name, data in content.items()
    }
    (checkpoint_folder / "manifest.json").write_text(
        json.dumps({"version": 1, "step": step, "stage": "forward", "metrics": {}, "files": listed})
    )
    return {
        "step": step,
        "stage": "forward",
        "folder": f"checkpoints/{checkpoint_folder.name}",
        "bytes": 30,
        "best": False,
        "metrics": {"loss": 1.0},
    }


def test_a_checkpoint_counts_once_the_store_has_all_of_it(claimed: Run, tmp_path: Path) -> None:
    first, second = checkpoint(tmp_path, 10), checkpoint(tmp_path, 20)
    (tmp_path / second["folder"] / "student.safetensors").unlink()
    ingest(
        claimed.pk, 1, [event(1, "checkpoint", **first), event(2, "checkpoint", **second)], tmp_path
    )
    latest = files.stored_checkpoints(claimed).first()
    assert latest is not None
    assert latest.step == 10
    assert (
        "student.safetensors is missing" in Event.objects.get(run=claimed, seq=2).payload["trouble"]
    )
    files.restore(latest, tmp_path / "elsewhere")
    assert {path.name: path.read_bytes() for path in (tmp_path / "elsewhere").iterdir()} == {
        path.name: path.read_bytes() for path in (tmp_path / first["folder"]).iterdir()
    }


@pytest.mark.parametrize(
    "content",
    [
        "[" * 100_000,
        "[]",
        "{}",
        '{"files": 5}',
        '{"files": {"a": 5}}',
        '{"files": {"a": {"sha256": "0", "size": 1e999}}}',
        "{",
        '{"files": {"a": {"sha256": "0", "size": 99999999999999999999}}}',
        '{"files": {"../a": {"sha256": "0", "size": 1}}}',
    ],
)
def test_a_damaged_manifest_is_reported_and_the_ingest_continues(
    claimed: Run, tmp_path: Path, content: str
) -> None:
    fields = checkpoint(tmp_path, 10)
    (tmp_path / fields["folder"] / "manifest.json").write_text(content)
    ingest(claimed.pk, 1, [event(1, "checkpoint", **fields), logged(2, 4, loss=0.5)], tmp_path)
    assert (
        "manifest.json of step-00000010 is damaged"
        in Event.objects.get(run=claimed, seq=1).payload["trouble"]
    )
    assert not Checkpoint.objects.exists()
    assert series_store.latest(claimed, ["loss"]) == {"loss": 0.5}


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (2, 1, 0, 0)])
def test_a_removed_checkpoint_is_deleted_whichever_event_arrives_first(
    claimed: Run, tmp_path: Path, order: tuple[int, ...]
) -> None:
    events = [
        event(1, "checkpoint", **checkpoint(tmp_path, 10)),
        event(2, "checkpoint", **checkpoint(tmp_path, 20)),
        event(3, "checkpoint_removed", step=10, folder="checkpoints/step-00000010"),
    ]
    for position in order:
        ingest(claimed.pk, 1, [events[position]], tmp_path)
    assert list(Checkpoint.objects.filter(run=claimed).values_list("step", flat=True)) == [20]


def evaluated(seq: int, file: dict[str, Any]) -> dict[str, Any]:
    conditions = {
        "verifier": {"kind": "numeric"},
        "prompt": "{question}",
        "answer_limit": 64,
        "sampling": {"temperature": 1.0, "top_p": 1.0, "top_k": 0},
    }
    return event(
        seq,
        "evaluated",
        step=4,
        when="after",
        role="evaluation",
        fingerprint="f1" * 32,
        problems=3,
        samples=2,
        conditions=conditions,
        file=file,
    )


def test_results_by_problem_are_stored_once_and_read_as_pass_rates(
    claimed: Run, tmp_path: Path
) -> None:
    table = side_files.result_table(["p1", "p2", "p3"], np.array([2, 1, 0]), np.array([2, 2, 0]))
    file = side_files.write(tmp_path / "side", table)
    for _ in range(2):
        ingest(claimed.pk, 1, [evaluated(1, file)], tmp_path)
    evaluation = claimed.evaluations.get()
    assert (evaluation.when, evaluation.problem_count) == ("after", 3)
    assert evaluation.set_fingerprint == "f1" * 32
    assert evaluation.conditions["sampling"]["temperature"] == 1.0
    # A problem without a verdict has no pass rate.
    assert problem_results.per_problem(evaluation) == {"p1": 1.0, "p2": 0.5}


def test_results_by_problem_whose_file_is_no_table_are_none(claimed: Run, tmp_path: Path) -> None:
    missing = {"name": "gone.parquet", "sha256": "0" * 64, "rows": 2}
    events = [evaluated(1, side_file(tmp_path)), evaluated(2, missing)]
    ingest(claimed.pk, 1, events, tmp_path)
    assert problem_results.per_problem(claimed.evaluations.get()) == {}
