"""The settings of runs as flat tables, with the defaults that their definitions leave out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from trainer import spec
from trainer.experiments import definition
from webapp.runs.definitions import flatten
from webapp.runs.models import Run

NOT_SET = "not set"
# Parameters of clients that are no settings of the training; the last part of their names.
CLIENT_IGNORED = frozenset(
    (
        *("seed", "random_seed", "data_seed", "name", "run_name", "run_id", "tags"),
        *("device", "device_map", "num_gpus", "gpus", "local_rank"),
        *("resume", "resume_from", "resume_from_checkpoint"),
        *("output_dir", "logging_dir", "log_dir"),
    )
)
IGNORED = ("version", "modality", "name", "seed", "compute", "checkpoints")
# Last parts of the names under which a definition or a client's parameters have the seed.
SEED_NAMES = ("seed", "random_seed")
REFERENCE = re.compile(r"(?:file|model|dataset|hub):")


@dataclass(frozen=True)
class RunSettings:
    """One run's settings by dotted path, as text.

    `ignored` are the paths that do not tell groups apart. `key` has the others as they count for
    groups: what was made for the run's seed counts by its name. `seed` is None if unknown.
    """

    run: str
    seed: int | None
    settings: Mapping[str, str]
    ignored: frozenset[str]
    key: tuple[tuple[str, str], ...]


def settings_of(run: Run, parameters: Mapping[str, object] | None) -> RunSettings:
    """Read a run's definition; for a run without one the `parameters` that its client logged."""
    if run.spec is None:
        settings = {
            path: text for path, text in flatten(parameters or {}) if not path.startswith("_")
        }
        ignored = frozenset(
            path for path in settings if re.split(r"[./]", path)[-1].lower() in CLIENT_IGNORED
        )
    else:
        settings = dict(flatten(_with_defaults(run.spec)))
        seeded = seeded_paths(run.recipe or str(run.spec.get("recipe", "")))
        ignored = frozenset(
            path for path in settings if path.partition(".")[0] in IGNORED or path in seeded
        )
    seed = _seed_in(settings)
    key = tuple(
        sorted(
            (path, _without_seed(text, seed))
            for path, text in settings.items()
            if path not in ignored
        )
    )
    # Nothing tells such runs apart, so that each is a group of its own.
    return RunSettings(run.public_id, seed, settings, ignored, key or (("run", run.public_id),))


@cache
def seeded_paths(recipe: str) -> frozenset[str]:
    """The settings that take the seed in the experiments of a recipe."""
    experiments = (definition.load(name) for name in definition.names())
    return frozenset(
        path
        for experiment in experiments
        if experiment.recipe == recipe
        for path in experiment.seeded
    )


@dataclass(frozen=True)
class SettingRow:
    """One setting of several runs or groups: `values` in their order, `differs` among them."""

    path: str
    values: tuple[str, ...]
    differs: bool


def setting_rows(columns: Sequence[Sequence[RunSettings]]) -> list[SettingRow]:
    """Return a row for each setting; a column lists the values of all its runs.

    In the order of the definitions.
    """
    paths = dict.fromkeys(
        path for column in columns for run in column for path in run.settings if path != "name"
    )
    rows = []
    for path in paths:
        values = tuple(
            ", ".join(dict.fromkeys(run.settings.get(path, NOT_SET) for run in column))
            for column in columns
        )
        rows.append(SettingRow(path, values, len(set(values)) > 1))
    return rows


def _with_defaults(stored: Mapping[str, object]) -> Mapping[str, object]:
    """Return a definition with its defaults; as it is stored if this version cannot read it."""
    try:
        return spec.load(stored).model_dump(mode="json")
    except spec.SpecError:
        return stored


def _seed_in(settings: Mapping[str, str]) -> int | None:
    """Return the run's seed: that of the definition, or the first parameter of such a name."""
    for path, text in sorted(settings.items(), key=lambda item: len(item[0])):
        is_number = text.isascii() and text.isdecimal() and len(text) < 19
        if is_number and re.split(r"[./]", path)[-1].lower() in SEED_NAMES:
            return int(text)
    return None


def _without_seed(text: str, seed: int | None) -> str:
    """Return a reference to what was made for this seed, such as `model:base-3@…`, by its name."""
    if seed is None or not REFERENCE.match(text):
        return text
    name = re.sub(rf"[-_](?:seed[-_]?)?{seed}(?=$|[/@.])", "", text)
    # Its hash is that of one seed.
    return text if name == text else re.sub(r"@[^/]*$", "", name)
