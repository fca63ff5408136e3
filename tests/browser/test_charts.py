"""Charts in a browser: any values and steps, and nothing in a chart that moves the page."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable

import pytest
from django.db import transaction
from playwright.sync_api import Page, expect

from tests.browser.conftest import PHONE, WIDE
from tests.browser.test_run_page import expect_points, finished, url_of  # noqa: F401
from tests.shared_cases import case, needs_cases
from webapp.access.models import Team, User
from webapp.clients import runs, summary
from webapp.clients.client_batch import ClientBatch, LoggedValues, RunPublicId
from webapp.clients.record import record
from webapp.runs.models import Run

# Counts the pixels of a canvas that are not of its background, grid or text: the curve's colour.
CURVE_PIXELS = """
figure => {
  const colour = getComputedStyle(document.documentElement).getPropertyValue('--series-1').trim();
  const wanted = [1, 3, 5].map(i => parseInt(colour.slice(i, i + 2), 16));
  const canvas = figure.querySelector('canvas');
  const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  const columns = new Set();
  for (let i = 0; i < data.length; i += 4)
    if (wanted.every((value, channel) => Math.abs(data[i + channel] - value) < 40))
      columns.add((i / 4) % canvas.width);
  return columns.size / canvas.width;
}
"""


def log(run: Run, series: dict[str, list[tuple[int, float]]]) -> None:
    logs = [
        LoggedValues({key: float(value)}, step, 1.7e9 + step % 100_000)
        for key, points in series.items()
        for step, value in points
    ]
    with transaction.atomic():
        record({run.pk: [ClientBatch(RunPublicId(run.team_id, run.public_id), logs)]})
    summary.refresh(run.pk)


@pytest.fixture
def logged(still: Team, alice: User) -> Run:
    return runs.create(runs.project(still, "charts"), alice, "trackio", "charts", "key")


def open_overview(page: Page, run: Run) -> None:
    page.goto(f"/runs/{run.public_id}/")
    expect(page.locator("figure[data-key] canvas").first).to_be_visible()


@needs_cases
def test_every_curve_of_the_case_is_visible_with_and_without_a_log_axis(
    open_page: Callable[..., Page], alice: User, logged: Run
) -> None:
    """`open_page` fails if the console has an error."""
    series = json.loads((case("14-charts") / "points.json").read_text())
    steps = range(0, 2000, 5)
    series["smallest"] = [[step, 5e-324 * (1 + step)] for step in steps]
    series["largest"] = [[step, 1e300 * (1 + step) ** 2] for step in steps]
    series["both signs"] = [[step, 1000 - step] for step in steps]
    log(logged, series)
    page = open_page(alice, {"width": 1440, "height": 2600})
    open_overview(page, logged)
    for key, points in series.items():
        figure = page.locator(f"figure[data-key='{key}']")
        expect(figure.locator("[data-count]")).to_have_text(f"{len(points)} points")
        # A level or falling curve crosses most columns; the far step has a line to it.
        assert figure.evaluate(CURVE_PIXELS) > 0.6, key
        figure.get_by_role("button", name="Logarithmic axis").click()
        assert figure.evaluate(CURVE_PIXELS) > (0.3 if key == "both signs" else 0.6), key
    expect(page.locator("figure[data-key='both signs'] [data-count]")).to_have_text(
        "400 points; a log axis does not show 200 of 0 or less"
    )


def test_values_that_are_not_finite_are_marked_inside_their_chart(
    open_page: Callable[..., Page], alice: User, logged: Run
) -> None:
    """Also where all are, or where a band of equal values would say so at length."""
    steps = range(0, 2000, 50)
    series = {
        "never finite": [(step, math.nan) for step in steps],
        "once infinite": [(step, math.inf if step == 500 else 3.0) for step in steps],
        "one value": [(7, 0.25)],
        "zeros": [(step, 0.0) for step in steps],
    }
    log(logged, series)
    page = open_page(alice, {"width": 390, "height": 2600})
    open_overview(page, logged)
    for key, count, value in (
        ("never finite", "40 points, none of them a finite number", "no finite value"),
        ("once infinite", "40 points, 1 of them no finite number", "3.00"),
        ("one value", "1 point", "0.250"),
        ("zeros", "40 points", "0"),
    ):
        figure = page.locator(f"figure[data-key='{key}']")
        expect(figure.locator("[data-count]")).to_have_text(count)
        expect(figure.locator(".legend b").first).to_have_text(value)
        name = figure.locator(".legend .name").first
        assert name.evaluate("name => name.scrollWidth <= name.clientWidth"), f"{key} is cut"
        figure.get_by_role("button", name="Logarithmic axis").click()
    expect(page.locator("figure[data-key='zeros'] [data-count]")).to_have_text(
        "40 points; a log axis does not show 40 of 0 or less"
    )


def heights(page: Page) -> list[float]:
    """Where each chart begins and ends on the page, and how long the page is."""
    return page.evaluate(
        """() => [document.documentElement.scrollHeight,
            ...[...document.querySelectorAll('figure.chart')].flatMap(figure => {
              const box = figure.getBoundingClientRect();
              return [box.top + scrollY, box.bottom + scrollY];
            })]"""
    )


@pytest.mark.parametrize("viewport", [WIDE, PHONE])
def test_cursor_table_and_zoom_never_move_the_page(
    open_page: Callable[..., Page],
    alice: User,
    finished: Run,  # noqa: F811
    viewport: dict[str, int],
) -> None:
    page = open_page(alice, viewport)
    page.goto(url_of(finished))
    expect_points(page, "memory", "60 points")
    page.wait_for_load_state("networkidle")
    before = heights(page)
    for chart in ("pass-rate", "divergence", "answers", "optimiser"):
        plot = page.locator(f"#chart-{chart} .u-over")
        plot.scroll_into_view_if_needed()
        box = plot.bounding_box()
        assert box is not None
        for share in (0.1, 0.5, 0.97):
            page.mouse.move(box["x"] + box["width"] * share, box["y"] + 60)
            assert heights(page) == before, f"the cursor over {chart}"
    page.get_by_role("button", name="Pass rate as a table").click()
    expect(page.get_by_role("region", name="Pass rate as a table")).to_be_visible()
    assert heights(page) == before
    page.get_by_role("button", name="Pass rate as a table").click()
    # A range between two evaluations: charts of evaluations have no point there.
    page.locator("#chart-loss .plot").focus()
    page.keyboard.press("Home")
    for _ in range(2):
        page.keyboard.press("ArrowRight")
    for _ in range(4):
        page.keyboard.press("+")
    expect(page.locator("#chart-pass-rate [data-count]")).to_have_text("no points in this range")
    assert heights(page) == before
    expect(page.locator("#chart-pass-rate .chart-empty")).to_be_hidden()
    expect(page.get_by_role("button", name="Reset zoom")).to_be_visible()


def test_the_base_stays_where_it_is_when_the_chart_is_zoomed(
    page: Page,
    finished: Run,  # noqa: F811
) -> None:
    """It is drawn at the same rate for every range, also where the first point is not loaded."""
    rates: list[tuple[float, float]] = []
    page.expose_function("baseDrawn", lambda below, above: rates.append((below, above)))
    # The text is below the line or, at the bottom, above it; the axis tells which rate that is.
    page.add_init_script(
        """
        const fillText = CanvasRenderingContext2D.prototype.fillText;
        const labels = new WeakMap();
        CanvasRenderingContext2D.prototype.fillText = function (text, x, y) {
          const ticks = labels.get(this.canvas) ?? [];
          labels.set(this.canvas, ticks);
          const percent = /^([\\d.]+) %$/.exec(text);
          if (percent) ticks.push([Number(percent[1]), y]);
          if (text === 'base' && ticks.length > 1) {
            const [[a, top], [b, bottom]] = ticks.slice(-2);
            const rateAt = (line) => a + ((line - top) * (b - a)) / (bottom - top);
            baseDrawn(rateAt(y - 12 * devicePixelRatio), rateAt(y + 4 * devicePixelRatio));
          }
          return fillText.apply(this, arguments);
        };
        """
    )
    page.goto(url_of(finished))
    expect_points(page, "pass-rate", "8 points")
    box = page.locator("#chart-pass-rate .u-over").bounding_box()
    assert box is not None
    rates.clear()
    page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + 40, steps=5)
    page.mouse.up()
    expect(page.locator("#chart-pass-rate [data-count]")).to_have_text(re.compile(r"^[23] points$"))
    held_out = [pair for pair in rates if max(pair) < 60]
    assert held_out and all(min(abs(rate - 40) for rate in pair) < 0.3 for pair in held_out), rates
