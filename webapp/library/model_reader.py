"""Facts of model folders for pages, read by a child process that has limits (`bounded_process`)."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from webapp.library import bounded_process, model_files
from webapp.library.bounded_process import TooMuchMemory, TooMuchTime
from webapp.library.model_files import Folder, ModelFacts, UnusableModel

SECONDS = 30.0
# A model's page also holds what was uploaded, within what a request may take.
MEMORY = 180 * 2**20
# Children at a time. Slow pages are few already, see `webapp.base.turns`; other callers are
# commands.
_slots = threading.BoundedSemaphore(2)
# Name, path, size and time of change of each file: a changed file is read again.
Key = tuple[tuple[str, str, int, int], ...]


class TooLarge(UnusableModel):
    """Reading the files took more memory or time than it may."""


def facts(folder: Folder) -> ModelFacts:
    """Return what the page of a model shows. Raises UnusableModel.

    The vocabulary of a tokenizer that is too large to read here is what config.json says.
    """
    try:
        facts: ModelFacts = _read("facts", _key(folder))
    except TooLarge:
        facts = _read("facts without tokenizer", _key(folder))
    return facts


def text_of(folder: Folder, ids: Sequence[int]) -> str:
    """Return token ids as text, special tokens included; empty without tokenizer.json.

    Raises UnusableModel if that file cannot be read.
    """
    path = folder.get("tokenizer.json")
    return str(_read("text", _key({"tokenizer.json": path}), tuple(ids))) if path else ""


def _key(folder: Folder) -> Key:
    """Raises FileNotFoundError if a file of the folder is gone."""
    statuses = {name: (path, path.stat()) for name, path in sorted(folder.items())}
    return tuple(
        (name, str(path), status.st_size, status.st_mtime_ns)
        for name, (path, status) in statuses.items()
    )


def _read(task: str, folder: Key, ids: tuple[int, ...] = ()) -> Any:
    # Texts are kept for those who turn the pages back and forth; their ids are long.
    read = _text if task == "text" else _fact
    value, reason, is_too_large = read(task, folder, ids)
    if reason:
        raise (TooLarge if is_too_large else UnusableModel)(reason)
    return value


def _answer(task: str, folder: Key, ids: tuple[int, ...]) -> tuple[Any, str, bool]:
    """Return what a child answers: (value, reason, whether it needed too much memory).

    Raises TooLarge if it does not answer in time.
    """
    paths = {name: Path(path) for name, path, *_ in folder}
    try:
        with _slots:
            value, reason = bounded_process.run(
                model_files.answer, task, paths, ids, seconds=SECONDS, memory=MEMORY
            )
    except TooMuchTime:
        # An error is not kept: a busy machine may have taken the time.
        raise TooLarge("The model's files take too long to read. Save the model again.") from None
    except TooMuchMemory:
        return (
            None,
            "The model's files take more memory to read than a model's do. Save the model again.",
            True,
        )
    return value, reason, False


# Reasons are kept as well: a file that cannot be read is not read at every visit.
_fact = lru_cache(maxsize=512)(_answer)
_text = lru_cache(maxsize=32)(_answer)
