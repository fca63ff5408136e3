"""The plan of an experiment: which arms and seeds a form asks for, and their definitions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import product
from typing import Any

from trainer import plain_yaml
from trainer.spec import SpecError, SpecIssue
from trainer.spec.changes import apply_changes
from webapp.runs.definitions import flatten

MOST_RUNS = 100
MOST_SEEDS = 50
MOST_VARIED = 3
LONGEST_NAME = 120
# Characters of a list of values, and of a value in the name of an arm.
LONGEST_LIST, LONGEST_VALUE = 2_000, 40
NEAREST = 3
# What the plan itself sets.
SET_BY_PLAN = ("name", "seed")


@dataclass(frozen=True)
class Varied:
    """A setting that varies, by its dotted path, and its values as typed: `0.5, 1, 2`."""

    path: str
    values: str


@dataclass(frozen=True)
class Arm:
    name: str
    changes: Mapping[str, Any]


@dataclass(frozen=True)
class PlannedRun:
    """A complete definition; `arm` is an index."""

    arm: int
    seed: int
    definition: Mapping[str, Any]


@dataclass(frozen=True)
class Plan:
    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]
    runs: tuple[PlannedRun, ...]

    @property
    def sentence(self) -> str:
        """“6 runs: 2 arms with 3 seeds each.”"""
        runs, arms, seeds = (
            f"{count:,} {noun}{'' if count == 1 else 's'}"
            for count, noun in (
                (len(self.runs), "run"),
                (len(self.arms), "arm"),
                (len(self.seeds), "seed"),
            )
        )
        return f"{runs}: {arms} with {seeds} each." if len(self.arms) > 1 else f"{runs}: {seeds}."


def plan(definition: Mapping[str, Any], varied: Sequence[Varied], repeats: int) -> Plan:
    """Return the runs of every combination of values, each with `repeats` seeds.

    The seeds count up from that of the definition; those of all arms are the same. Raises SpecError
    whose issues have as paths `repeats`, `vary.<row>.path` and `vary.<row>.values`.
    """
    if not 1 <= repeats <= MOST_SEEDS:
        raise SpecError([SpecIssue("repeats", f"must be a whole number from 1 to {MOST_SEEDS}")])
    _require_settings(definition, varied)
    arms = _arms(varied)
    first = int(definition["seed"])
    seeds = tuple(range(first, first + repeats))
    if len(arms) * len(seeds) > MOST_RUNS:
        raise SpecError(
            [
                SpecIssue(
                    "repeats",
                    f"makes {len(arms) * len(seeds):,} runs with the values below; an experiment "
                    f"has at most {MOST_RUNS}",
                )
            ]
        )
    return Plan(arms, seeds, tuple(_runs(definition, varied, arms, seeds)))


def _require_settings(definition: Mapping[str, Any], varied: Sequence[Varied]) -> None:
    """Raise SpecError for a path of a setting that the definition does not have."""
    for index, row in enumerate(varied):
        path = row.path.strip()
        if path and path not in SET_BY_PLAN and not _has_setting(definition, path):
            paths = [known for known, _ in flatten(definition)]
            nearest = [known for known in paths if known.endswith(f".{path}")]
            nearest += get_close_matches(path, paths, NEAREST)
            hint = (
                f"; nearest: {', '.join(list(dict.fromkeys(nearest))[:NEAREST])}" if nearest else ""
            )
            message = f"“{path[:60]}” is no setting of this run{hint}"
            raise SpecError([SpecIssue(f"vary.{index}.path", message)])


def _has_setting(definition: Mapping[str, Any], path: str) -> bool:
    section: Any = definition
    for name in path.split("."):
        is_item = isinstance(section, list) and name.isdecimal() and int(name) < len(section)
        if is_item:
            section = section[int(name)]
        elif isinstance(section, Mapping) and name in section:
            section = section[name]
        else:
            return False
    return True


def _arms(varied: Sequence[Varied]) -> tuple[Arm, ...]:
    paths = [row.path.strip() for row in varied]
    value_lists = [_values(index, row, paths) for index, row in enumerate(varied)]
    # Bounded before they are combined.
    count = 1
    for values in value_lists:
        count *= len(values)
    if count > MOST_RUNS:
        last = f"vary.{len(varied) - 1}.values"
        raise SpecError([SpecIssue(last, f"make {count:,} combinations; {MOST_RUNS} are allowed")])
    labels = _labels(paths)
    arms = []
    for combination in product(*value_lists):
        pairs = zip(labels, combination, strict=True)
        name = ", ".join(f"{label} = {_shown(value)}" for label, value in pairs)
        changes = dict(_change(path, value) for path, value in zip(paths, combination, strict=True))
        arms.append(Arm(name or "as defined", changes))
    return tuple(arms)


def _values(index: int, row: Varied, paths: Sequence[str]) -> list[Any]:
    path = paths[index]
    problem = ""
    if not path:
        problem = "must name a setting by its path in the YAML"
    elif path in SET_BY_PLAN:
        problem = f"cannot be {path}, which the experiment sets for each run"
    elif path in paths[:index]:
        problem = f"names {path}, which varies already; put all its values in one row"
    if problem:
        raise SpecError([SpecIssue(f"vary.{index}.path", problem)])
    name = f"vary.{index}.values"
    try:
        values = plain_yaml.load(f"[{row.values}]", LONGEST_LIST)
    except plain_yaml.UnreadableYaml as error:
        raise SpecError([SpecIssue(name, f"cannot be read: {error}")]) from None
    if not isinstance(values, list) or not values:
        raise SpecError([SpecIssue(name, "must have values with commas between, as 0.5, 1, 2")])
    for place, value in enumerate(values):
        # 1 and True are equal to Python, and so are 1 and 1.0.
        if any(_shown(value) == _shown(other) for other in values[:place]):
            raise SpecError([SpecIssue(name, f"have {_shown(value)} twice")])
    return values


def _change(path: str, value: Any) -> tuple[str, Any]:
    """Return the change of a setting; another kind of section begins with its own defaults."""
    section, _, last = path.rpartition(".")
    return (section, {"kind": value}) if last == "kind" and section else (path, value)


def _labels(paths: Sequence[str]) -> list[str]:
    """Return short names of settings that tell them apart."""
    labels = [_label(path) for path in paths]
    return [
        path if labels.count(label) > 1 else label
        for path, label in zip(paths, labels, strict=True)
    ]


def _label(path: str) -> str:
    section, _, last = path.rpartition(".")
    return _label(section) if last == "kind" and section else last


def _shown(value: Any) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"


def _runs(
    definition: Mapping[str, Any],
    varied: Sequence[Varied],
    arms: Sequence[Arm],
    seeds: Sequence[int],
) -> Iterator[PlannedRun]:
    for index, arm in enumerate(arms):
        for seed in seeds:
            try:
                yield PlannedRun(index, seed, run_definition(definition, arm, seed))
            except SpecError as error:
                raise SpecError(
                    SpecIssue(_field(issue.path, varied), f"give, for {arm.name}: {issue}")
                    for issue in error.issues
                ) from None


def run_definition(definition: Mapping[str, Any], arm: Arm, seed: int) -> dict[str, Any]:
    """Return the definition of one run of an experiment. Raises SpecError."""
    parts = [str(definition["name"]), *([arm.name] if arm.changes else []), f"seed {seed}"]
    name = " · ".join(parts)[:LONGEST_NAME]
    return apply_changes(definition, {**arm.changes, "seed": seed, "name": name})


def _field(path: str, varied: Sequence[Varied]) -> str:
    """Return the field of the row that an issue is about, as far as its path tells."""
    for index, row in enumerate(varied):
        name = row.path.strip()
        if path == name or path.startswith(f"{name.removesuffix('.kind')}"):
            return f"vary.{index}.values"
    return "vary.0.values" if varied else "repeats"
