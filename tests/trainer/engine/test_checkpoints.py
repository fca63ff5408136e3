"""Checkpoints are complete or absent, and never loaded when they differ from what was written."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest
import torch

from trainer.engine import checkpoints
from trainer.engine.checkpoints import DamagedCheckpoint, Snapshot
from trainer.engine.outcome import DiskFull


def snapshot(step: int = 7) -> Snapshot:
    weights = {
        "a.weight": torch.arange(6.0).reshape(2, 3),
        "b": torch.ones(2, dtype=torch.bfloat16),
    }
    return Snapshot(
        step,
        "second",
        {"student": weights, "optimiser": {}},
        {"pool": [1, None], "best": 0.1},
        {"loss": 0.25},
    )


def test_a_checkpoint_is_read_back_unchanged(tmp_path: Path) -> None:
    folder, size = checkpoints.save(tmp_path, snapshot())
    assert folder.name == "step-00000007"
    assert size == sum(path.stat().st_size for path in folder.iterdir())
    back = checkpoints.load(folder)
    assert (back.step, back.stage, back.metrics, back.state) == (
        7,
        "second",
        {"loss": 0.25},
        {"pool": [1, None], "best": 0.1},
    )
    for name, tensor in snapshot().tensors["student"].items():
        assert torch.equal(back.tensors["student"][name], tensor)
        assert back.tensors["student"][name].dtype == tensor.dtype
    assert back.tensors["optimiser"] == {}


def test_every_file_has_its_size_and_hash_in_the_manifest(tmp_path: Path) -> None:
    folder, _ = checkpoints.save(tmp_path, snapshot())
    manifest = json.loads((folder / "manifest.json").read_text())
    assert set(manifest["files"]) == {path.name for path in folder.iterdir()} - {"manifest.json"}
    assert all(
        len(facts["sha256"]) == 64 and facts["size"] > 0 for facts in manifest["files"].values()
    )


@pytest.mark.parametrize("name", ["student.safetensors", "state.json"])
def test_a_changed_byte_is_detected(tmp_path: Path, name: str) -> None:
    folder, _ = checkpoints.save(tmp_path, snapshot())
    content = bytearray((folder / name).read_bytes())
    content[-2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(DamagedCheckpoint, match="differs from what was written"):
        checkpoints.load(folder)


def test_a_missing_file_and_a_missing_manifest_are_detected(tmp_path: Path) -> None:
    folder, _ = checkpoints.save(tmp_path, snapshot())
    (folder / "student.safetensors").unlink()
    with pytest.raises(DamagedCheckpoint, match=r"lacks student\.safetensors"):
        checkpoints.load(folder)
    (folder / "manifest.json").unlink()
    with pytest.raises(DamagedCheckpoint, match="no readable manifest"):
        checkpoints.load(folder)


def test_a_crash_while_writing_leaves_no_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(source: object, target: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "rename", crash)
    with pytest.raises(KeyboardInterrupt):
        checkpoints.save(tmp_path, snapshot())
    monkeypatch.undo()
    assert checkpoints.list_folders(tmp_path) == []
    checkpoints.save(tmp_path, snapshot())
    assert len(checkpoints.list_folders(tmp_path)) == 1


def test_a_full_disk_gives_a_sentence_and_leaves_no_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, text: str) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_text", refuse)
    with pytest.raises(DiskFull) as failure:
        checkpoints.save(tmp_path, snapshot())
    assert "No space left" in failure.value.reason
    assert "Free some space" in failure.value.remedy
    assert list(tmp_path.iterdir()) == []


def test_saving_a_step_again_replaces_it(tmp_path: Path) -> None:
    checkpoints.save(tmp_path, snapshot())
    folder, _ = checkpoints.save(tmp_path, Snapshot(7, "second", {}, {"new": True}))
    assert checkpoints.load(folder).state == {"new": True}


def test_the_last_and_the_best_are_kept(tmp_path: Path) -> None:
    for step in (5, 10, 15, 20):
        checkpoints.save(tmp_path, snapshot(step))
    names = [folder.name for folder in checkpoints.removable(tmp_path, keep_last=2, best=5)]
    assert names == ["step-00000010"]
    for folder in checkpoints.removable(tmp_path, 2, 5):
        checkpoints.remove(folder)
    assert [folder.name for folder in checkpoints.list_folders(tmp_path)] == [
        "step-00000020",
        "step-00000015",
        "step-00000005",
    ]


def test_no_file_is_a_pickle(tmp_path: Path) -> None:
    folder, _ = checkpoints.save(tmp_path, snapshot())
    assert {path.suffix for path in folder.iterdir()} == {".json", ".safetensors"}
