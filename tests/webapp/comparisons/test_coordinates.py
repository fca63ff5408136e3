"""Axes of parallel coordinates, and the lines of a comparison's charts."""

from __future__ import annotations

import math
from typing import Any

import pytest

from webapp.comparisons.choices import Choices
from webapp.comparisons.groups import grouped
from webapp.comparisons.results import RunResult
from webapp.comparisons.run_settings import setting_rows, settings_of
from webapp.comparisons.statements import ComparedItem
from webapp.pages.compare import charts, coordinates
from webapp.runs.models import Run
from webapp.series.series_store import LastPoint

LOSS = "result:loss"


def items_of(*runs: dict[str, Any]) -> list[ComparedItem]:
    """Groups of runs with these parameters; `loss` is the final value of that series."""
    settings, results = [], {}
    for index, parameters in enumerate(runs):
        loss = parameters.pop("loss", None)
        run = Run(public_id=f"r{index}", name=f"run {index}")
        settings.append(settings_of(run, parameters))
        last = {} if loss is None else {"loss": LastPoint(1, 0.0, loss)}
        results[run.public_id] = RunResult(run, settings[-1], last)
    return [
        ComparedItem(group, tuple(results[run.run] for run in group.runs), group.id)
        for group in grouped(settings)
    ]


def drawn(items: list[ComparedItem], *keys: str) -> dict[str, dict[str, Any]]:
    """The axes by their keys."""
    differing = coordinates.differing_settings(
        items, setting_rows([item.group.runs for item in items])
    )
    usual = coordinates.usual_axes(differing, ["loss"], "loss")
    shown = coordinates.coordinates(
        items, differing, ["loss"], "loss", usual, Choices(coordinates=keys)
    )
    assert shown is not None
    return {axis["key"]: axis for axis in shown["drawn"]["axes"]}


def test_the_usual_axes_are_what_differs_and_the_results() -> None:
    items = items_of(
        *({"lr": lr, "same": 1, "seed": seed, "loss": lr} for lr in (1, 2) for seed in (7, 8))
    )
    assert list(drawn(items)) == ["setting:lr", LOSS]
    # What differs within a group only is offered too, in the order that was chosen.
    axes = drawn(items, LOSS, "setting:seed", "setting:same", "setting:none")
    assert list(axes) == [LOSS, "setting:seed"]
    assert axes["setting:seed"]["values"] == [7, 8, 7, 8]


def test_settings_that_tell_no_groups_apart_come_last() -> None:
    items = items_of({"seed": 1, "lr": 1}, {"seed": 2, "lr": 2})
    assert list(drawn(items)) == ["setting:lr", "setting:seed", LOSS]


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        ((0.1, 10), "linear"),
        ((0.1, 10.1), "log"),
        ((0, 1000), "linear"),
        ((-1, 1000), "linear"),
        (("a", 1), "text"),
    ],
)
def test_numbers_over_two_decades_are_logarithmic(values: tuple[Any, Any], scale: str) -> None:
    [axis] = [
        axis
        for key, axis in drawn(items_of(*({"lr": value} for value in values))).items()
        if key == "setting:lr"
    ]
    assert axis["scale"] == scale


def test_texts_are_categories_in_order_and_numbers_among_them_come_first() -> None:
    axis = drawn(items_of(*({"kind": kind} for kind in ("sgd", "10", "adam", "9"))))["setting:kind"]
    assert axis["categories"] == ["9", "10", "adam", "sgd"]
    assert axis["values"] == [3, 1, 2, 0]


@pytest.mark.parametrize("loss", [None, math.nan, math.inf])
def test_what_is_missing_or_no_number_has_no_value(loss: float | None) -> None:
    axes = drawn(items_of({"lr": 1, "loss": loss}, {"other": 1, "loss": 2.0}))
    assert axes["setting:lr"]["values"] == [1, None]
    assert axes[LOSS]["values"] == [None, 2.0]


@pytest.mark.parametrize(
    ("lines", "labels"),
    [
        ("means", ["r0: mean of 3, 95 %", "r3: mean of 2, min to max", "r5"]),
        ("runs", [*(f"run {index}, seed {index}" for index in range(5)), "r5"]),
        ("both", ["r0: mean of 3, 95 %", "run 0, seed 0"]),
    ],
)
def test_groups_are_drawn_as_means_or_run_by_run_in_one_colour(
    lines: Any, labels: list[str]
) -> None:
    rates = (1, 1, 1, 2, 2, 3)
    items = items_of(*({"lr": lr, "seed": seed, "loss": 1.0} for seed, lr in enumerate(rates)))
    drawing = charts.charts(items, ["loss"], "loss", Choices(lines=lines), "")
    declared = drawing["charts"][0]["lines"]
    assert [line["label"] for line in declared][: len(labels)] == labels
    assert {line["tint"] for line in declared} == {0, 1, 2}
    assert len(declared) == {"means": 3, "runs": 6, "both": 8}[lines]
    # Student's t of 1 and 2 degrees of freedom, from a table.
    assert drawing["board"]["quantiles"][1:] == pytest.approx([12.7062, 4.30265], abs=1e-4)
