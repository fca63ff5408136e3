"""The pages of the panels that only some runs have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from tests.webapp.panel_events import (
    ALL_PANELS,
    calibration,
    privileged,
    send_panels,
    token_regions,
)
from tests.webapp.recorded import SPEC, Recorder, rate
from webapp.access.models import Team, User
from webapp.live import frames
from webapp.pages.panels import charts
from webapp.pages.panels import privileged as privileged_panel
from webapp.pages.panels import token_regions as token_panel
from webapp.runs import lifecycle
from webapp.runs.models import Run

PANELS = ("calibration", "tokens", "privileged")


@pytest.fixture
def recorder(still: Team, alice: User, tmp_path: Path) -> Recorder:
    """A run whose definition leads to every panel, before its first measurement."""
    return Recorder(lifecycle.create_run(still, alice, ALL_PANELS), tmp_path)


@pytest.fixture
def measured(recorder: Recorder) -> Run:
    for step, when in ((0, "before"), (30, "during"), (60, "after")):
        send_panels(recorder, step, when)
    return recorder.run


@pytest.fixture
def reader(client: Client, bob: User) -> Client:
    client.force_login(bob)
    return client


def get_page(client: Client, run: Run, path: str) -> Any:
    response = client.get(f"/runs/{run.public_id}/{path}")
    assert response.status_code == 200
    return response


def tabs(client: Client, run: Run) -> list[str]:
    return [name for name, _ in get_page(client, run, "").context["tabs"]]


def test_a_run_has_the_panels_that_its_definition_will_fill(
    reader: Client, recorder: Recorder
) -> None:
    assert [name for name in tabs(reader, recorder.run) if name in PANELS] == list(PANELS)


def test_a_panel_appears_with_its_first_event(reader: Client, still: Team, tmp_path: Path) -> None:
    recorder = Recorder(
        lifecycle.create_run(still, None, {**SPEC, "pool": {"estimate": "never"}}), tmp_path
    )
    assert not {"frontier", *PANELS} & set(tabs(reader, recorder.run))
    recorder.send([calibration(0, "before", "answer")])
    assert "calibration" in tabs(reader, recorder.run)


@pytest.mark.parametrize("panel", PANELS)
def test_an_empty_panel_says_what_will_appear(
    reader: Client, recorder: Recorder, panel: str
) -> None:
    assert "Not measured yet" in get_page(reader, recorder.run, f"{panel}/").content.decode()


def test_the_diagram_has_a_bar_for_every_bin_with_answers(reader: Client, measured: Run) -> None:
    page = get_page(reader, measured, "calibration/?step=0")
    filled = [bin for bin in page.context["event"]["bins"] if bin["n"]]
    assert len(page.context["diagram"]["bars"]) == len(filled) > 1
    last_bar = page.context["diagram"]["bars"][-1]
    area = page.context["diagram"]["area"]
    assert (area.bottom - last_bar["y"]) / area.height == pytest.approx(
        filled[-1]["accuracy"], abs=1e-4
    )
    assert last_bar["low"] > last_bar["y"] > last_bar["high"]
    assert "are right: over-confident by" in page.content.decode()


def test_malformed_statements_are_counted(reader: Client, measured: Run) -> None:
    assert "20 state none" in get_page(reader, measured, "calibration/").content.decode()
    assert (
        "20 state none"
        not in get_page(reader, measured, "calibration/?readout=expected").content.decode()
    )


def test_the_confidence_of_an_answer_is_explained_and_never_malformed(
    reader: Client, measured: Run
) -> None:
    page = get_page(reader, measured, "calibration/?readout=answer")
    assert (
        "This confidence is the mean probability of the answer&#x27;s own tokens."
        in page.content.decode()
    )
    assert "Malformed" not in page.content.decode()
    assert "Malformed" in get_page(reader, measured, "calibration/").content.decode()


@pytest.mark.parametrize(
    ("path", "step", "follows"),
    [
        ("calibration/", 60, True),
        ("calibration/?step=30", 30, False),
        ("calibration/?step=45&readout=answer", 30, False),
        ("calibration/?step=-1", 60, True),
        ("calibration/?step=" + "9" * 400, 60, True),
        ("calibration/?step=%00&readout=%00", 60, True),
        ("tokens/?step=0", 0, False),
    ],
)
def test_the_url_chooses_the_step(
    reader: Client, measured: Run, path: str, step: int, follows: bool
) -> None:
    page = get_page(reader, measured, path)
    assert (page.context["event"]["step"], page.context["scrubber"].follows) == (step, follows)
    assert page.context["scrubber"].steps == (0, 30, 60)


def test_every_readout_has_its_own_curves(reader: Client, measured: Run) -> None:
    page = get_page(reader, measured, "calibration/?readout=expected")
    keys = {line["key"] for chart in page.context["board"]["charts"] for line in chart["lines"]}
    assert "calibration/expected/ece_if_calibrated" in keys
    assert not any("stated" in key for key in keys)


def test_the_overview_shows_stated_and_expected_confidences(reader: Client, measured: Run) -> None:
    keys = {
        line["key"]
        for chart in get_page(reader, measured, "").context["board"]["charts"]
        for line in chart["lines"]
    }
    assert {"calibration/stated/ece", "calibration/expected/ece"} <= keys


def test_an_evaluation_without_verdicts_says_so(reader: Client, recorder: Recorder) -> None:
    empty = {
        "n": 0,
        "bins": [],
        "risk_coverage": [],
        "ece": "NaN",
        "gap": "NaN",
        "brier_parts": None,
        "auroc": "NaN",
    }
    recorder.send([{**calibration(0), **empty}])
    assert (
        "No answer had both a confidence and a verdict."
        in get_page(reader, recorder.run, "calibration/").content.decode()
    )


def test_every_cell_with_tokens_is_inside_the_map() -> None:
    event = token_regions(30)
    heat = token_panel.heat_map(event)
    assert len(heat["cells"]) == sum(count > 0 for row in event["counts"] for count in row)
    for cell in heat["cells"]:
        assert heat["area"].left <= cell["x"] < heat["area"].right
        assert heat["area"].top <= cell["y"] < heat["area"].bottom


def test_a_threshold_is_at_the_position_of_its_value() -> None:
    event = {**token_regions(30), "thresholds": {"entropy": 0.25, "divergence": 1e-5}}
    heat = token_panel.heat_map(event)
    area = heat["area"]
    assert (heat["entropy_x"], heat["divergence_y"]) == (area.x(0.25), area.bottom)


def test_the_regions_are_listed_in_a_table(reader: Client, measured: Run) -> None:
    page = get_page(reader, measured, "tokens/").content.decode()
    assert "50 % of 1,000 tokens were selected." in page
    for name in (
        "Both high (Q1)",
        "Entropy high (Q2)",
        "Confident and wrong (Q3)",
        "Both low (Q4)",
    ):
        assert name in page


@pytest.mark.parametrize(
    ("tokens", "clip", "lines"),
    [
        ("all", "none", []),
        ("all", "clip", ["divergences clipped"]),
        ("selected", "none", ["selected", "confident and wrong (Q3)"]),
    ],
)
def test_only_shares_that_the_definition_produces_have_charts(
    tokens: str, clip: str, lines: list[str]
) -> None:
    by_region, *other_charts = token_panel.charts(
        {"stages": [{"tokens": {"kind": tokens}, "objective": {"clip": {"kind": clip}}}]}
    )
    assert by_region.lines[2].label == "confident and wrong (Q3)"
    assert [line.label for chart in other_charts for line in chart.lines] == lines


def test_decisions_on_rollouts_and_updates_have_charts_where_there_are_any() -> None:
    def ids(**stage: object) -> set[str]:
        of_runs = {"rollout-tokens", "decisions", "updates"}
        return of_runs & {chart.id for chart in charts.charts_of({"stages": [{}, stage]})}

    assert (
        ids() == ids(rollouts={"control": {"kind": "fixed"}, "replay": {"kind": "none"}}) == set()
    )
    assert ids(inner_epochs=2) == ids(minibatches=4) == {"updates"}
    for role in ("generate", "control", "replay"):
        assert ids(rollouts={role: {"kind": "varied"}}) == {"rollout-tokens", "decisions"}


def test_the_privileged_rates_are_drawn_and_listed(reader: Client, measured: Run) -> None:
    page = get_page(reader, measured, "privileged/")
    assert [len(line["marks"]) for line in page.context["plot"]["lines"]] == [3, 3, 3]
    assert f"{100 * rate(0):.1f} %" in page.content.decode()


@pytest.mark.parametrize(
    ("continuation", "passed", "text"),
    [
        (0.7, True, "there is something to learn"),
        (0.45, None, "cannot tell that from noise"),
        (0.3, False, "precondition is not met"),
        (None, None, "was not measured"),
    ],
)
def test_the_gate_is_a_sentence(continuation: float | None, passed: bool | None, text: str) -> None:
    gate = privileged_panel.gate(privileged(0, continuation=continuation))
    assert gate.passed is passed
    assert text in gate.text


def test_new_panel_events_are_pushed_to_open_pages(measured: Run) -> None:
    assert {"calibration", "token_regions", "privileged", "pipeline"} <= set(
        frames.news_since(measured.pk, 0).page_parts
    )


def test_an_event_with_too_few_counts_becomes_a_warning(recorder: Recorder) -> None:
    recorder.send([{**token_regions(0), "counts": [[1]]}])
    assert not recorder.run.events.filter(type="token_regions").exists()
    assert "could not be read" in recorder.run.events.get(type="log").payload["message"]
