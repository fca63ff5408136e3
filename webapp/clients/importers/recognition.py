"""Which tracker wrote the files of a folder, by their names and first bytes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from webapp.clients.importers import mlflow, tables, tensorboard, wandb, wandb_charts, wandb_offline
from webapp.clients.importers.imported_run import UnreadableFile

# Files that are looked at until one is recognised.
MOST_LOOKED_AT = 1000


def format_of(folder: Path) -> str | None:
    """Return the format of the files below `folder`; None if no file is recognised.

    Raises UnreadableFile if several trackers wrote them.
    """
    formats: dict[str, str] = {}
    for file in islice(_files(folder), MOST_LOOKED_AT):
        if format := _format_of_file(file):
            formats.setdefault(format, file.name)
    if len(formats) > 1:
        names = ", ".join(f"{name} ({format})" for format, name in formats.items())
        raise UnreadableFile(
            f"Several trackers wrote these files: {names}. Import them one after the other, each "
            "with its format."
        )
    return next(iter(formats), None)


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def _format_of_file(file: Path) -> str | None:
    if file.match(tensorboard.PATTERN):
        return tensorboard.CLIENT
    if file.name == "meta.yaml" and (file.parent / "metrics").is_dir():
        return mlflow.CLIENT
    match file.suffix.lower():
        case wandb.OFFLINE:
            return wandb.CLIENT
        case ".csv":
            return _format_of_table(file)
        case ".jsonl":
            return wandb.CLIENT if _has_step(file) else None
    return None


def _format_of_table(file: Path) -> str | None:
    try:
        columns = tables.header(file)
    # Its reader says what is wrong with it.
    except UnreadableFile:
        return None
    if set(mlflow.COLUMNS) <= set(columns):
        return mlflow.CLIENT
    is_wandb = wandb_offline.STEP in columns or wandb_charts.is_chart(columns)
    return wandb.CLIENT if is_wandb else None


def _has_step(file: Path) -> bool:
    try:
        _, row = next(iter(tables.rows(file)), (0, {}))
    except UnreadableFile:
        return False
    return wandb_offline.STEP in row
