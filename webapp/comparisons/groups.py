"""Groups of runs that differ only by their seed and by what does not change their results.

People can split a run from its group and merge groups. Pure functions of runs' settings.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from webapp.comparisons.run_settings import RunSettings


@dataclass(frozen=True)
class RunGroup:
    """Runs of equal settings, in the order in which they are compared.

    `ignored` are the settings that differ among them and did not count, with their values.
    """

    runs: tuple[RunSettings, ...]
    ignored: Mapping[str, tuple[str, ...]]

    @property
    def id(self) -> str:
        """The public id of its first run, which names the group in addresses."""
        return self.runs[0].run

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(sorted({run.seed for run in self.runs if run.seed is not None}))


def key_of(run: RunSettings) -> str:
    """Return the key by which runs are grouped: a hash of the settings that count."""
    return hashlib.sha256(json.dumps(run.key).encode()).hexdigest()


def grouped(
    runs: Sequence[RunSettings],
    split: Collection[str] = (),
    merge: Sequence[tuple[str, str]] = (),
) -> list[RunGroup]:
    """Return the groups, each at the position of its first run.

    Runs in `split` are groups of their own. For each pair in `merge` the group of the second run
    joins that of the first. Unknown ids change nothing.
    """
    key_by_run = {run.run: run.run if run.run in split else key_of(run) for run in runs}
    for first, second in merge:
        if first in key_by_run and second in key_by_run:
            kept, joined = key_by_run[first], key_by_run[second]
            key_by_run = {run: kept if key == joined else key for run, key in key_by_run.items()}
    members: dict[str, list[RunSettings]] = {}
    for run in runs:
        members.setdefault(key_by_run[run.run], []).append(run)
    return [RunGroup(tuple(group), _ignored(group)) for group in members.values()]


def _ignored(runs: Sequence[RunSettings]) -> dict[str, tuple[str, ...]]:
    """The settings in which the runs of a group differ, with their different values."""
    paths = dict.fromkeys(path for run in runs for path in run.settings)
    values = {
        path: tuple(dict.fromkeys(run.settings.get(path, "not set") for run in runs))
        for path in paths
    }
    return {path: different for path, different in values.items() if len(different) > 1}
