"""The problems that a definition names, read on the server as far as this can be done while
somebody fills in a form.

Larger files are left to the worker, which checks everything again before the first step.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from trainer.spec import ArithmeticProblems, Columns, Data, FileProblems
from trainer.text.problems import ProblemError, ProblemSet, load, preview
from webapp.access.models import Team
from webapp.library import locations

LARGEST_FILE = 32 * 2**20
MOST_DRAWN = 20_000

Source = ArithmeticProblems | FileProblems


def read(source: Source, team: Team) -> ProblemSet | None:
    """All problems of a source; None where only the worker can read them. Raises ProblemError and
    places.LocationError.
    """
    if isinstance(source, ArithmeticProblems):
        return _loaded(source, None, 0) if source.count <= MOST_DRAWN else None
    path = locations.data_path(source.path, team)
    if path is None:
        return None
    try:
        if path.is_dir() or path.stat().st_size > LARGEST_FILE:
            preview(path, source.columns, 1, source.format, source.split)
            return None
        return _loaded(source, path, path.stat().st_mtime_ns)
    except ProblemError as error:
        found = locations.data_set(source.path, team)
        raise ProblemError(
            str(error).replace(path.name, found.filename if found else path.name)
        ) from None


def size(source: Source, team: Team) -> int | None:
    """How many problems the source has before limits, where this is known without reading it."""
    if isinstance(source, ArithmeticProblems):
        return source.count
    found = locations.data_set(source.path, team)
    return found.problem_count if found and source.columns == Columns(**found.columns) else None


@lru_cache(maxsize=8)
def _loaded(source: Source, path: Path | None, changed: int) -> ProblemSet:
    """`changed` is when the file was: a changed file is read again."""
    return load(source, Data(evaluation=ArithmeticProblems()), lambda uri: path or Path())
