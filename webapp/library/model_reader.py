"""Facts of model folders for pages, read by a process that has limits and can be killed.

A tokenizer of 30 MB takes seconds and 300 MB to read, and its library holds Python's lock
meanwhile, so that no other page would be answered.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from webapp.library.model_files import Folder, ModelFacts, UnusableModel

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 30.0
# Processes at a time. Slow pages are few already, see `webapp.base.turns`; other callers are
# commands.
_slots = threading.BoundedSemaphore(2)
# The environment has no secrets of the server, and one thread per process.
ENVIRONMENT = {
    "PYTHONPATH": str(ROOT),
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "RAYON_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
# Name, path, size and time of change of each file: a changed file is read again.
Key = tuple[tuple[str, str, int, int], ...]


class TooLarge(UnusableModel):
    """Reading the files took more memory or time than it may."""


def facts(folder: Folder) -> ModelFacts:
    """Return what the page of a model shows. Raises UnusableModel.

    The vocabulary of a tokenizer that is too large to read here is what config.json says.
    """
    try:
        return ModelFacts(**_read("facts", (_key(folder),)))
    except TooLarge:
        return ModelFacts(**_read("facts without tokenizer", (_key(folder),)))


def vocabulary_difference(student: Folder, teacher: Folder) -> str:
    """Return how two vocabularies differ, see `model_files`. Raises UnusableModel.

    Tokenizers that are too large to compare here are compared by the trainer, before its first
    step.
    """
    paths = [folder.get("tokenizer.json") for folder in (student, teacher)]
    if None in paths or paths[0] == paths[1]:
        return ""
    compared = ("tokenizer.json", "config.json")
    keys = tuple(
        _key({name: folder[name] for name in compared if name in folder})
        for folder in (student, teacher)
    )
    try:
        return str(_read("difference", keys))
    except TooLarge:
        return ""


def text_of(folder: Folder, ids: Sequence[int]) -> str:
    """Return token ids as text, special tokens included; empty without tokenizer.json.

    Raises UnusableModel if that file cannot be read.
    """
    path = folder.get("tokenizer.json")
    return str(_read("text", (_key({"tokenizer.json": path}),), tuple(ids))) if path else ""


def _key(folder: Folder) -> Key:
    """Raises FileNotFoundError if a file of the folder is gone."""
    statuses = {name: (path, path.stat()) for name, path in sorted(folder.items())}
    return tuple(
        (name, str(path), status.st_size, status.st_mtime_ns)
        for name, (path, status) in statuses.items()
    )


def _read(task: str, folders: tuple[Key, ...], ids: tuple[int, ...] = ()) -> Any:
    # Texts are kept for those who turn the pages back and forth; their ids are long.
    read = _text if task == "text" else _fact
    value, reason, is_too_large = read(task, folders, ids)
    if reason:
        raise (TooLarge if is_too_large else UnusableModel)(reason)
    return value


def _answer(task: str, folders: tuple[Key, ...], ids: tuple[int, ...]) -> tuple[Any, str, bool]:
    """Return what a process answers: (value, reason, whether it reached its limits).

    Raises TooLarge if it does not answer in time.
    """
    paths = [{name: path for name, path, *_ in folder} for folder in folders]
    request = json.dumps([task, paths, ids])
    with _slots:
        try:
            process = subprocess.run(
                [sys.executable, "-P", "-m", "webapp.library.model_process"],
                input=request,
                capture_output=True,
                env=ENVIRONMENT,
                text=True,
                timeout=SECONDS,
            )
        except subprocess.TimeoutExpired:
            # An error is not kept: a busy machine may have taken the time.
            raise TooLarge(
                "The model's files take too long to read. Save the model again."
            ) from None
    if process.returncode:
        return (
            None,
            "The model's files take more memory to read than a model's do. Save the model again.",
            True,
        )
    value, reason = json.loads(process.stdout)
    return value, reason, False


# Reasons are kept as well: a file that cannot be read is not read at every visit.
_fact = lru_cache(maxsize=512)(_answer)
_text = lru_cache(maxsize=32)(_answer)
