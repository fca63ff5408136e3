"""Reading the problems that a definition names, as far as the server can while a form is open.

The worker reads larger files, and checks everything again before the first step.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from trainer.spec import ArithmeticProblems, Columns, Data, FileProblems
from trainer.text.problems import ProblemError, ProblemSet, load, preview
from webapp.access.models import Team
from webapp.library import locations

# A check runs 300 ms after each change of the form, so what it reads must stay small.
LARGEST_FILE = 32 * 2**20
MOST_GENERATED = 20_000

ProblemSource = ArithmeticProblems | FileProblems


def read(source: ProblemSource, team: Team) -> ProblemSet | None:
    """Return all problems of a source; None where only the worker can read them.

    Raises ProblemError if they cannot be read, and LocationError if there is no such file.
    """
    if isinstance(source, ArithmeticProblems):
        return _load(source, None, 0) if source.count <= MOST_GENERATED else None
    path = locations.data_path(source.path, team)
    if path is None:
        return None
    try:
        if path.is_dir() or path.stat().st_size > LARGEST_FILE:
            # One problem shows whether the columns are right.
            preview(path, source.columns, 1, source.format, source.split)
            return None
        return _load(source, path, path.stat().st_mtime_ns)
    except ProblemError as error:
        # An uploaded file is stored under its hash: name it as its owner does.
        data_set = locations.data_set(source.path, team)
        filename = data_set.filename if data_set else path.name
        raise ProblemError(str(error).replace(path.name, filename)) from None


def known_count(source: ProblemSource, team: Team) -> int | None:
    """Return the number of problems before limits, if it is known without reading the source."""
    if isinstance(source, ArithmeticProblems):
        return source.count
    data_set = locations.data_set(source.path, team)
    if data_set is None or source.columns != Columns(**data_set.columns):
        return None
    return data_set.problem_count


@lru_cache(maxsize=8)
def _load(source: ProblemSource, path: Path | None, mtime_ns: int) -> ProblemSet:
    """Read a source once; `mtime_ns` is part of the cache key, so a changed file is read again."""
    return load(source, Data(evaluation=ArithmeticProblems()), lambda uri: path or Path())
