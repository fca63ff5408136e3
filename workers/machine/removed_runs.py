"""The folders on this machine of runs that were removed for good."""

from __future__ import annotations

import shutil
from pathlib import Path

from webapp.runs import deletion
from workers.machine import host


def remove_folders() -> int:
    """Remove the folders of removed runs, with their restored checkpoints; return how many.

    A folder whose run this database does not know stays: it may be another installation's.
    """
    folders = [*_folders_in(host.runs_folder()), *_folders_in(host.restored_checkpoints_folder())]
    removed = deletion.removed_among(folder.name for folder in folders)
    gone = [folder for folder in folders if folder.name in removed]
    for folder in gone:
        shutil.rmtree(folder, ignore_errors=True)
    return len(gone)


def _folders_in(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []
