"""The verdicts of a reproduced experiment beside those that the project has published.

They are those of `python -m trainer.experiments report`, by the rules of docs/results, with two
differences: a contrast that fewer than three seeds measured gets none, and none is given before
every run has ended, because a look in between would make chance differences more likely.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from trainer import experiments
from trainer.experiments.comparisons import FEWEST_SEEDS
from trainer.experiments.definition import Experiment as Shipped
from trainer.experiments.report import is_same_definition
from trainer.experiments.verdicts import findings
from webapp.experiments.models import Experiment, ExperimentRun
from webapp.experiments.reproduction import shipped_definition
from webapp.experiments.results import progress_of
from webapp.experiments.run_outcomes import outcome_of
from webapp.runs.models import State

SECTIONS = {
    "gates": "Preconditions",
    "claims": "Claims",
    "explored": "Explored beside the claims, not adjusted for their number",
}
# Experiments of which a process keeps the numbers.
MOST_KEPT = 100
TOO_FEW = f"no verdict: fewer than {FEWEST_SEEDS} seeds"


@dataclass(frozen=True)
class Measured:
    """The numbers and the verdict of one contrast; numbers are None if they were not measured."""

    seeds: int
    mean: float | None
    low: float | None
    high: float | None
    p: float | None
    adjusted_p: float | None
    words: str
    remark: str

    @property
    def tone(self) -> str:
        """The class of its badge."""
        if self.words.endswith("reversed"):
            return "bad"
        is_shown = self.words.endswith("shown") and not self.words.endswith("not shown")
        return "good" if is_shown and not self.remark else ""


@dataclass(frozen=True)
class ContrastRow:
    """A contrast here and as published; None where there is nothing yet."""

    says: str
    here: Measured | None
    published: Measured | None


@dataclass(frozen=True)
class Verdicts:
    """All contrasts by section, and what has to be said about them.

    `awaited` is why there is no verdict yet or at all, `missing` the runs that gave no result.
    """

    name: str
    recipe: str
    sections: tuple[tuple[str, tuple[ContrastRow, ...]], ...]
    awaited: str
    missing: tuple[str, ...]
    seeds_left_out: int
    published_seeds: int
    is_published_definition: bool


def verdicts_of(experiment: Experiment, cells: Sequence[ExperimentRun]) -> Verdicts | None:
    """Judge a reproduction; None for an experiment that is none, or that cannot be read."""
    if experiment.shipped is None:
        return None
    try:
        shipped = shipped_definition(experiment)
    except ValueError:
        return None
    published = experiments.results(shipped.name) or {}
    here, awaited = _here(experiment, shipped, cells)
    return Verdicts(
        shipped.name,
        shipped.recipe,
        tuple(_sections(shipped, here, published)),
        awaited,
        tuple(_missing(shipped, cells)),
        max(0, len(published.get("seeds", ())) - len(shipped.seeds)),
        len(published.get("seeds", ())),
        not published or is_same_definition(shipped, published.get("definition", {})),
    )


def published_measured(contrast: Mapping[str, Any]) -> Measured:
    """Return a contrast of a `results.json`; those of earlier versions lack some numbers."""
    estimate = contrast.get("estimate") or {}
    return Measured(
        len(contrast.get("differences", ())),
        estimate.get("mean"),
        estimate.get("low"),
        estimate.get("high"),
        contrast.get("p"),
        contrast.get("adjusted_p"),
        contrast.get("words") or contrast["verdict"],
        contrast.get("remark", ""),
    )


@dataclass(frozen=True)
class _EndedRuns:
    """The completed runs of an experiment: their primary keys, and how far their logs go.

    Equal ones give the same numbers.
    """

    experiment: int
    logs: tuple[tuple[int, int], ...]
    shipped: Shipped = field(compare=False)
    cells: Sequence[ExperimentRun] = field(compare=False)


def _here(
    experiment: Experiment, shipped: Shipped, cells: Sequence[ExperimentRun]
) -> tuple[Mapping[str, Sequence[Measured]], str]:
    """Return the contrasts' numbers by section, or why there are none."""
    if not progress_of(cells).is_over:
        return {}, "The verdict is given when every run has ended."
    completed = sorted(
        (cell for cell in cells if cell.run and cell.run.state == State.COMPLETED),
        key=lambda cell: (cell.seed, cell.arm),
    )
    logs = tuple((cell.run.pk, cell.run.batch_count) for cell in completed if cell.run)
    if not logs:
        return {}, "No run has completed, so there is no verdict. Run them again."
    return _judged(_EndedRuns(experiment.pk, logs, shipped, completed))


# Kept, because reading the logs of a hundred runs takes many seconds.
@lru_cache(maxsize=MOST_KEPT)
def _judged(ended: _EndedRuns) -> tuple[Mapping[str, Sequence[Measured]], str]:
    arms = list(ended.shipped.arms)
    outcomes = [
        outcome_of(ended.shipped, arms[cell.arm], cell.seed, cell.run)
        for cell in ended.cells
        if cell.run
    ]
    try:
        judged = findings(ended.shipped, outcomes)
    except KeyError as error:
        return {}, f"There is no verdict: {error.args[0]}."
    return {
        section: [
            _measured(finding.record(), len(finding.differences))
            for finding in getattr(judged, section)
        ]
        for section in SECTIONS
    }, ""


def _measured(record: Mapping[str, Any], seeds: int) -> Measured:
    measured = published_measured(record)
    if seeds >= FEWEST_SEEDS:
        return measured
    if measured.mean is None and record["differences"]:
        # Of one seed, which has no interval.
        [difference] = record["differences"].values()
        return Measured(seeds, difference, None, None, None, None, TOO_FEW, "")
    return Measured(seeds, measured.mean, measured.low, measured.high, None, None, TOO_FEW, "")


def _sections(
    shipped: Shipped, here: Mapping[str, Sequence[Measured]], published: Mapping[str, Any]
) -> Iterator[tuple[str, tuple[ContrastRow, ...]]]:
    for section, title in SECTIONS.items():
        by_text = {
            contrast["says"]: published_measured(contrast)
            for contrast in published.get(section, ())
        }
        contrasts = getattr(shipped, section)
        measured: Sequence[Measured | None] = here.get(section) or [None] * len(contrasts)
        if contrasts:
            yield (
                title,
                tuple(
                    ContrastRow(contrast.says, numbers, by_text.get(contrast.says))
                    for contrast, numbers in zip(contrasts, measured, strict=True)
                ),
            )


def _missing(shipped: Shipped, cells: Sequence[ExperimentRun]) -> Iterator[str]:
    """Yield the runs that have ended without a result: “uniform, seed 9 (failed)”."""
    titles = [arm.title for arm in shipped.arms.values()]
    for cell in sorted(cells, key=lambda cell: (cell.seed, cell.arm)):
        if cell.state in ("failed", "stopped", "paused", "deleted"):
            yield f"{titles[cell.arm]}, seed {cell.seed} ({cell.state})"
