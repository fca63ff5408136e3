"""What the page of a comparison shows, from its runs and the choices of the address."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trainer.experiments.comparisons import Statement, Terms
from webapp.access.models import Team
from webapp.base.number_text import percent, plain
from webapp.clients.masking import masked
from webapp.comparisons import groups as run_groups
from webapp.comparisons import interest as interests
from webapp.comparisons import results as run_results
from webapp.comparisons.choices import MOST_RUNS, Choices
from webapp.comparisons.groups import RunGroup
from webapp.comparisons.results import HELD_OUT, RunResult
from webapp.comparisons.run_settings import RunSettings, setting_rows, settings_of
from webapp.comparisons.statements import ComparedItem, statement
from webapp.pages.compare import charts, coordinates, figures
from webapp.pages.compare.saved_state import IN_PAGE, saved_state
from webapp.runs import status_text
from webapp.runs.models import Run

MOST_METRICS = 300
# Rows of the table of settings: a client may log any number of parameters.
MOST_SETTINGS = 300
# Choices that have no field in the form.
KEPT = ("split", "merge", "settings", "lines", *IN_PAGE)
AXES = {"step": "steps", "tokens": "tokens", "time": "time", "compute": "compute (FLOP)"}


@dataclass(frozen=True)
class ResultRow:
    """One run or group in the table of results; `statement` is None for the baseline."""

    item: ComparedItem
    number: int
    state: str
    value: str
    interval: str
    statement: Statement | None
    difference: str = ""
    plain_interval: str = ""
    adjusted_interval: str = ""
    detectable: str = ""
    needed: str = ""
    badge: str = ""

    @property
    def series(self) -> int:
        """The number of the colour of its lines and dots."""
        return self.number % figures.COLOURS + 1


def page_data(
    runs: Sequence[Run],
    choices: Choices,
    address: str,
    series: str,
    saved: Choices | None = None,
    team: Team | None = None,
) -> dict[str, Any]:
    """Return the context of the page; `address` and `series` are its URLs up to the choices.

    `saved` are the choices of the saved comparison that is shown. `team` is None for guests.
    """
    settings = {run.pk: settings_of(run, _parameters(run)) for run in runs}
    results = run_results.results_of(runs, settings)
    items = _items(results, choices)
    metrics = _metrics(results)
    metric = choices.metric if choices.metric in metrics else next(iter(metrics), HELD_OUT)
    baseline = _baseline(items, choices)
    interest = interests.interest_of(choices, saved, team)
    terms = Terms(interest.value, max(1, len(items) - 1), charts.is_share(metric))
    rows = [
        _row(item, number, metric, None if item is baseline else baseline, terms)
        for number, item in enumerate(items)
    ]
    all_rows = setting_rows([item.group.runs for item in items])
    shown_settings = [row for row in all_rows if row.differs or choices.all_settings]
    drawn_charts = charts.charts(items, metrics, metric, choices, series)
    drawings = _figures(items, all_rows, metric, choices)
    differing = coordinates.differing_settings(items, all_rows)
    usual = Choices(
        baseline=items[0].id,
        metric=next(iter(metrics), HELD_OUT),
        charts=tuple(charts.usual_charts(metrics, metric)),
        against=next(iter(drawings["against_options"]), ""),
        coordinates=coordinates.usual_axes(differing, drawn_charts["chart_keys"], metric),
    )
    return {
        "choices": choices,
        "run_count": len(runs),
        # Their pass rates do not compare with those on problems that a student has not seen.
        "cohorts": [run.name for run in runs if run.summary.get("cohort")],
        "address": address,
        "query": choices.query(),
        "rows": rows,
        "baseline": baseline,
        "metric": metric,
        "metrics": metrics[:MOST_METRICS],
        "terms": terms,
        "interest": interest,
        "confidence": f"{100 * (1 - 0.05 / terms.family):.4g}",
        "most_runs": MOST_RUNS,
        "axes": AXES.items(),
        "by_runs": choices.query(by="runs"),
        "by_groups": choices.query(by="groups"),
        "has_groups": any(item.is_group for item in items),
        "settings": shown_settings[:MOST_SETTINGS],
        "settings_left_out": max(0, len(shown_settings) - MOST_SETTINGS),
        "settings_count": len(all_rows),
        "other_settings": choices.query(all_settings=not choices.all_settings),
        "to_evaluate": run_results.to_evaluate(results, metric),
        "selected_runs": [result.run.name for result in results if result.is_selected],
        "hidden": choices.stored().items(),
        "kept": KEPT,
        **_group_links(items, choices),
        **drawn_charts,
        **drawings,
        "coordinates": coordinates.coordinates(
            items, differing, metrics, metric, usual.coordinates, choices
        ),
        **saved_state(choices, saved, usual, items),
    }


def _parameters(run: Run) -> Mapping[str, object] | None:
    """What a client logged about its run, without secrets of logs of earlier versions."""
    origin = getattr(run, "origin", None)
    return masked(origin.params) if origin is not None else None


def _items(results: Sequence[RunResult], choices: Choices) -> list[ComparedItem]:
    by_id = {result.run.public_id: result for result in results}
    all_settings = [result.settings for result in results]
    groups = (
        [RunGroup((settings,), {}) for settings in all_settings]
        if choices.by == "runs"
        else run_groups.grouped(all_settings, choices.split, choices.merge)
    )
    firsts = [by_id[group.id] for group in groups]
    names = Counter(first.run.name for first in firsts)
    named_seeds = Counter((first.run.name, first.settings.seed) for first in firsts)
    return [
        ComparedItem(
            group,
            tuple(by_id[settings.run] for settings in group.runs),
            _name(first, names[first.run.name], len(group.runs) == 1, named_seeds),
        )
        for group, first in zip(groups, firsts, strict=True)
    ]


def _name(
    first: RunResult,
    same_names: int,
    is_single: bool,
    named_seeds: Mapping[tuple[str, int | None], int],
) -> str:
    """The name of the first run; with its seed or id where several have that name.

    Of a group without the seed.
    """
    name, seed = first.run.name, first.settings.seed
    if not is_single:
        # The runs of an experiment end so (`webapp.experiments.plan`); the group has all its seeds.
        name = name.removesuffix(f" · seed {seed}")
    if same_names == 1:
        return name
    if is_single and seed is not None and named_seeds[name, seed] == 1:
        return f"{name}, seed {seed}"
    return f"{name} ({first.run.public_id})"


def _baseline(items: Sequence[ComparedItem], choices: Choices) -> ComparedItem:
    """The pinned one; the first unless a run of another was pinned."""
    return next(
        (
            item
            for item in items
            if any(settings.run == choices.baseline for settings in item.group.runs)
        ),
        items[0],
    )


def _metrics(results: Sequence[RunResult]) -> list[str]:
    """The series that have values: the held-out pass rate first, then those of the most runs."""
    counts = Counter(key for result in results for key in result.last)
    edges = {f"{key}/{edge}" for key in counts for edge in ("low", "high")}
    names = sorted(counts.keys() - edges, key=lambda key: (key != HELD_OUT, -counts[key], key))
    # Runs with a definition are compared by it even before its first value.
    has_definition = any(result.run.spec is not None for result in results)
    return names if HELD_OUT in counts or not has_definition else [HELD_OUT, *names]


def _row(
    item: ComparedItem, number: int, metric: str, baseline: ComparedItem | None, terms: Terms
) -> ResultRow:
    text = percent if terms.is_share else plain
    interval = item.interval(metric)
    said = None if baseline is None else statement(item, baseline, metric, terms)
    row = ResultRow(
        item,
        number,
        ", ".join(dict.fromkeys(status_text.state_of(result.run) for result in item.results)),
        text(item.value(metric)),
        f"{text(interval[0])} to {text(interval[1])}" if interval else "",
        said,
    )
    if said is None or said.measured is None:
        return row
    measured = said.measured
    return ResultRow(
        *(row.item, row.number, row.state, row.value, row.interval, said),
        difference=terms.difference(measured.mean),
        plain_interval=terms.range(measured.interval),
        adjusted_interval=terms.range(measured.adjusted) if terms.family > 1 else "",
        detectable=terms.size(measured.detectable),
        needed=f"{measured.needed:,}" if measured.needed else "–",
        badge=_badge(said, metric),
    )


def _badge(said: Statement, metric: str) -> str:
    """The class of a verdict: good and bad only where higher is known to be better."""
    if not said.verdict.startswith(("higher", "lower")):
        return "plain"
    if metric.endswith("pass_rate"):
        return "good" if said.verdict.startswith("higher") else "bad"
    return "accent"


def _group_links(items: Sequence[ComparedItem], choices: Choices) -> dict[str, Any]:
    """For each group the links that split a run from it, and what was ignored in it."""
    groups = [
        {
            "item": item,
            "runs": [
                (
                    result,
                    choices.query(split=(*choices.split, result.run.public_id))
                    if item.is_group
                    else "",
                )
                for result in item.results
            ],
            "ignored": [
                (path, ", ".join(values))
                for path, values in item.group.ignored.items()
                if path != "name"
            ],
            "merge": [
                (other, choices.query(merge=(*choices.merge, (item.id, other.id))))
                for other in items
                if other is not item
            ]
            if len(items) <= 12
            else [],
        }
        for item in items
    ]
    return {
        "groups": groups if choices.by == "groups" else [],
        "is_regrouped": bool(choices.split or choices.merge),
        "as_grouped": choices.query(split=(), merge=()),
    }


def _figures(
    items: Sequence[ComparedItem], all_rows: Sequence[Any], metric: str, choices: Choices
) -> dict[str, Any]:
    settings_by_run: list[tuple[RunSettings, float, int, str]] = [
        (result.settings, result.last[metric].value, number, result.run.name)
        for number, item in enumerate(items)
        for result in item.results
        if metric in result.last
    ]
    options = [row.path for row in all_rows if row.differs and _is_numeric(row.path, items)]
    against = choices.against if choices.against in options else next(iter(options), "")
    lines = [
        (result.run.pk, charts.line_label(item, result), number)
        for number, item in enumerate(items)
        for result in item.results
    ]
    runs = [result.run for item in items for result in item.results]
    return {
        "against": against,
        "against_options": options,
        "scatter": figures.scatter(
            [
                (settings.settings.get(against, ""), value, number, name)
                for settings, value, number, name in settings_by_run
            ],
            percent if charts.is_share(metric) else plain,
        )
        if against
        else None,
        "reliability": figures.reliability(run_results.calibrations_of(runs), lines),
    }


def _is_numeric(path: str, items: Sequence[ComparedItem]) -> bool:
    """Whether at least two runs have a different number as this setting."""
    numbers = {
        number
        for item in items
        for settings in item.group.runs
        if (number := figures.as_finite(settings.settings.get(path, ""))) is not None
    }
    return len(numbers) > 1
