"""Checkpoints: everything a run needs to resume exactly where it stopped.

A checkpoint is `step-00000100/` with one safetensors file per set of tensors, `state.json` with the
rest, and `manifest.json` with the size and SHA-256 of every file. It is written to a temporary
folder, synced and renamed, so that a checkpoint is complete or absent. A folder whose content does
not match its manifest is never loaded. Nothing is pickled.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from trainer.engine.outcome import DiskFull
from trainer.events import DISK_FULL_ERRNOS, sync_folder, to_json_value

MANIFEST = "manifest.json"
STATE = "state.json"
TEMPORARY = ".writing-"


class DamagedCheckpoint(ValueError):
    """A checkpoint that cannot be loaded. The message says which file is wrong and how."""


@dataclass(frozen=True)
class Snapshot:
    """The state of a run after `step` steps.

    `tensors` maps a file name without its suffix to named tensors.
    """

    step: int
    stage: str
    tensors: Mapping[str, Mapping[str, torch.Tensor]]
    state: Mapping[str, Any]
    metrics: Mapping[str, float] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)


def folder_name(step: int) -> str:
    # Padded, because `list_folders` orders checkpoints by their names.
    return f"step-{step:08d}"


def save(root: Path, snapshot: Snapshot) -> tuple[Path, int]:
    """Write a snapshot below `root`; return its folder and size in bytes.

    Raises DiskFull if there is no room for it.
    """
    root.mkdir(parents=True, exist_ok=True)
    temporary = root / f"{TEMPORARY}{folder_name(snapshot.step)}"
    try:
        # A writer that was killed in this step may have left a part of the same checkpoint.
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        size = _write(temporary, snapshot)
        target = root / folder_name(snapshot.step)
        # A rename cannot replace a folder with files. A step is saved a second time once pass rates
        # or the teacher's answers are complete (`checkpoint_requested`).
        if target.exists():
            shutil.rmtree(target)
        os.rename(temporary, target)
        sync_folder(root)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        # safetensors reports a full disk only in the text of its own exception.
        if any(os.strerror(number) in str(error) for number in DISK_FULL_ERRNOS):
            raise DiskFull(
                f"The checkpoint of step {snapshot.step} could not be written, because the disk is "
                f"full: {error}.",
                "Free some space and resume the run.",
            ) from error
        raise
    return target, size


def load(folder: Path) -> Snapshot:
    """Read a checkpoint.

    Raises DamagedCheckpoint if a file is missing or differs from the manifest.
    """
    manifest = _checked_manifest(folder)
    tensors = {
        Path(name).stem: load_file(folder / name)
        for name in manifest["files"]
        if name.endswith(".safetensors")
    }
    return Snapshot(
        manifest["step"],
        manifest["stage"],
        tensors,
        json.loads((folder / STATE).read_text()),
        manifest["metrics"],
    )


def list_folders(root: Path) -> list[Path]:
    """Return the checkpoint folders below `root`, the newest first."""
    return sorted(root.glob("step-*"), reverse=True)


def remove(folder: Path) -> None:
    """Remove a checkpoint; it is renamed first, so that a crash leaves no half of a checkpoint."""
    renamed = folder.with_name(f"{TEMPORARY}{folder.name}-removed")
    os.rename(folder, renamed)
    shutil.rmtree(renamed, ignore_errors=True)


def removable(root: Path, keep_last: int, best: int | None) -> list[Path]:
    """Return all checkpoints but the last `keep_last` and that of step `best`."""
    return [
        folder
        for folder in list_folders(root)[keep_last:]
        if best is None or folder.name != folder_name(best)
    ]


def _write(folder: Path, snapshot: Snapshot) -> int:
    for name, tensors in snapshot.tensors.items():
        # safetensors refuses views that are not contiguous, as transposed parameters are.
        save_file(
            {key: tensor.detach().contiguous() for key, tensor in tensors.items()},
            folder / f"{name}.safetensors",
        )
    for name, content in snapshot.files.items():
        (folder / name).write_bytes(content)
    (folder / STATE).write_text(json.dumps(snapshot.state))
    files = {
        path.name: {"sha256": _sha256(path), "size": path.stat().st_size}
        for path in sorted(folder.iterdir())
    }
    manifest = {
        "version": 1,
        "step": snapshot.step,
        "stage": snapshot.stage,
        # A metric may be NaN or infinite, which strict JSON readers refuse.
        "metrics": to_json_value(dict(snapshot.metrics)),
        "files": files,
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1))
    # Contents first, then the names in the folder; the caller's rename comes after both. In another
    # order a power failure could leave a complete name with empty files.
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
    sync_folder(folder)
    return sum(path.stat().st_size for path in folder.iterdir())


def _checked_manifest(folder: Path) -> dict[str, Any]:
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text())
        expected = manifest["files"]
    except (OSError, ValueError, KeyError) as error:
        raise DamagedCheckpoint(f"{folder.name} has no readable manifest ({error})") from error
    for name, entry in expected.items():
        path = folder / name
        if not path.is_file():
            raise DamagedCheckpoint(f"{folder.name} lacks {name}")
        # The size first: it detects a file that was cut without reading gigabytes for the hash.
        if path.stat().st_size != entry["size"] or _sha256(path) != entry["sha256"]:
            raise DamagedCheckpoint(f"{name} in {folder.name} differs from what was written")
    return manifest


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
