"""Logs that nobody's trainer would write: each event is refused in a sentence, or the pages that
show it answer.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from tests.webapp.panel_events import ALL_PANELS, calibration, privileged, token_regions
from tests.webapp.recorded import Recorder
from webapp.access.models import Team, User
from webapp.runs import lifecycle

NONE = {"pass_rate": "NaN", "interval": ["NaN", "NaN"]}
BIN = {
    "low": 0.4,
    "high": 0.5,
    "n": 10,
    "confidence": 0.45,
    "accuracy": 0.4,
    "interval": [0.2, 0.6],
}
CELLS: dict[str, Any] = {
    "entropy_edges": [0, 0.5, 1],
    "divergence_edges": [1e-4, 1e-2, 1],
    "counts": [[1, 2], [3, 4]],
    "kept": [[1, 1], [1, 1]],
}
SNR_BIN = {
    "low": 0,
    "high": 0.25,
    "n": 8,
    "snr": 0.5,
    "interval": [0.1, 0.9],
    "numerator": 1.0,
    "denominator": 2.0,
}
EVALUATION: dict[str, Any] = {
    "type": "evaluation",
    "step": 3,
    "when": "after",
    "role": "evaluation",
    "pass_rate": 0.5,
    "interval": [0.4, 0.6],
    "samples": 1,
    "problems": 5,
    "pass_at": {"1": 0.5},
    "truncated": 0.0,
    "groups": [],
    "difference": {"pass_rate": 0.1, "interval": [-0.1, 0.2]},
}
POOL: dict[str, Any] = {
    "type": "problems",
    "step": 1,
    "role": "train",
    "reason": "initial",
    "k": 8,
    "ids": ["a", "b"],
    "passed": [1, 2],
    "verdicts": [8, 8],
    "weights": [0.5, None],
}
SNR: dict[str, Any] = {"type": "snr", "step": 1, "bins": [SNR_BIN]}
GROUP = {"by": "tier", "name": "frontier", "n": 5, "pass_rate": 0.5, "interval": [0.4, 0.6]}


def bins(**fields: Any) -> dict[str, Any]:
    return {**calibration(3), "bins": [{**BIN, **fields}]}


def cells(**fields: Any) -> dict[str, Any]:
    return {**token_regions(3), **CELLS, **fields}


def without(event: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in event.items() if name not in names}


REFUSED: list[dict[str, Any]] = [
    bins(accuracy="NaN"),
    bins(low="Infinity"),
    bins(accuracy=1e308, low=-1e308),
    bins(confidence=2.0),
    bins(interval=[0, 7]),
    bins(n=-1),
    bins(n=5.5),
    bins(n=2**63),
    {**calibration(3), "bins": [BIN] * 1001},
    {**calibration(3), "risk_coverage": [[0.5, 0.5]] * 1001},
    {**calibration(3), "risk_coverage": [[0.5, "NaN"]]},
    {**calibration(3), "gap": 1e9},
    {**calibration(3), "malformed": {"missing": "x"}},
    {**calibration(3), "step": 2**63},
    {**calibration(3), "mean_confidence": [1]},
    cells(entropy_edges=[0.5, 0.5, 0.5]),
    cells(entropy_edges=[1, 0.5, 0]),
    cells(entropy_edges=["NaN"] * 3),
    cells(divergence_edges=[0, 1, "Infinity"]),
    cells(entropy_edges=[-1e308, 0, 1e308]),
    cells(entropy_edges=list(range(202))),
    cells(thresholds={"entropy": "NaN", "divergence": 0.1}),
    cells(thresholds={"entropy": 0.5, "divergence": "Infinity"}),
    cells(kept=[[2**62, 1], [1, 1]]),
    cells(counts=[[1]]),
    cells(kept_share="NaN"),
    cells(kept_share=2),
    cells(regions=[{"name": "q3", "share": "NaN", "kept_share": 0.1, "divergence_share": 0.1}]),
    cells(regions=token_regions(3)["regions"] * 2),
    {**privileged(3), "plain": {"pass_rate": 1e308, "interval": [-1e308, 1e308]}},
    {**privileged(3), "plain": {"pass_rate": 0.3}},
    {**POOL, "passed": []},
    {**POOL, "verdicts": [8]},
    {**POOL, "weights": [1.0]},
    {**POOL, "k": 0},
    {**POOL, "passed": [9, 9]},
    {**POOL, "passed": [0.5, 1]},
    {**SNR, "bins": [{**SNR_BIN, "low": "NaN"}]},
    {**SNR, "bins": [SNR_BIN] * 1001},
    {**SNR, "bins": [without(SNR_BIN, "snr")]},
    {**EVALUATION, "pass_rate": 7},
    {**EVALUATION, "truncated": [1]},
    {**EVALUATION, "problems": "many"},
    {**EVALUATION, "groups": [{**GROUP, "difference": 3}]},
]
SHOWN: list[dict[str, Any]] = [
    bins(accuracy="0.5", n="5"),
    bins(interval=["NaN", "NaN"]),
    bins(interval=["0.1", "0.2"]),
    bins(n=0),
    bins(n=2**62),
    without(calibration(3), "bins"),
    without(calibration(3), "risk_coverage", "malformed"),
    {**calibration(3), "n": "10", "gap": "NaN"},
    {**calibration(3), "malformed": {"missing": "3"}},
    {**calibration(3), "gap": "0.2", "ece": math.nan, "brier_parts": {"within": "NaN"}},
    {**calibration(3), "risk_coverage": [["0.5", "0.1"]]},
    {**calibration(3), "stage": {"a": 1}, "role": "<b>"},
    cells(),
    cells(entropy_edges=["0", "0.5", "1"], counts=[["1", "2"], ["3", "4"]]),
    cells(regions=[]),
    cells(kept_share="0.4"),
    cells(counts=[[2**62, 2**62], [2**62, 1]]),
    cells(counts=[[0, 0], [0, 0]], kept=[[0, 0], [0, 0]]),
    cells(stage="x" * 9999),
    {**privileged(3), "plain": NONE},
    {**privileged(3), "plain": NONE, "privileged": NONE, "continuation": NONE, "difference": NONE},
    {**privileged(3), "difference": NONE},
    {**privileged(3), "plain": {"pass_rate": "0.3", "interval": ["0.2", "0.4"]}},
    {**privileged(3), "step": 2**62, "problems": "5"},
    {**POOL, "passed": ["1", "2"], "weights": ["NaN", None]},
    without(POOL, "weights"),
    {**POOL, "verdicts": [8, 0], "passed": [8, 0], "role": "tracked"},
    {**POOL, "ids": ["a", "a"]},
    {**POOL, "k": 2**62},
    {
        **SNR,
        "bins": [{**SNR_BIN, "snr": "Infinity", "interval": ["NaN", "NaN"], "numerator": "NaN"}],
    },
    {**SNR, "bins": []},
    {**SNR, "bins": [{**SNR_BIN, "low": "0", "snr": "0.5"}]},
    {**EVALUATION, "difference": NONE},
    without(EVALUATION, "samples", "problems"),
    {**EVALUATION, "pass_rate": "NaN", "interval": ["NaN", "NaN"]},
    {**EVALUATION, "pass_rate": 0},
    {**EVALUATION, "pass_rate": "0.5"},
    {
        **EVALUATION,
        "groups": [{**GROUP, **NONE, "difference": NONE}],
        "pass_at": {"1": "NaN"},
        "truncated": "NaN",
    },
    {
        "type": "pipeline",
        "step": 3,
        "generated": 1,
        "consumed": 1,
        "share_edited": "NaN",
        "dropped": {"<script>": "3"},
    },
    {
        "type": "progress",
        "step": 1,
        "phase": "x" * 3000,
        "done": "5",
        "of": 0,
        "total_steps": 2**62,
    },
    {"type": "environment", "step": 1, "packages": [1], "python": {"a": 1}},
]
PAGES = (
    "",
    "frontier/",
    "frontier.json",
    "calibration/",
    "tokens/",
    "privileged/",
    "rollouts/",
    "config/",
    "log/",
)


@pytest.fixture
def recorder(still: Team, alice: User, tmp_path: Path) -> Recorder:
    return Recorder(lifecycle.create_run(still, alice, ALL_PANELS), tmp_path)


@pytest.mark.parametrize("event", REFUSED, ids=lambda event: str(event["type"]))
def test_an_event_that_no_page_could_show_is_refused_with_a_reason(
    recorder: Recorder, event: dict[str, Any]
) -> None:
    recorder.send([event])
    assert not recorder.run.events.filter(type=event["type"]).exists()
    assert (
        f"({event['type']}) could not be read: "
        in recorder.run.events.get(type="log").payload["message"]
    )


@pytest.mark.parametrize("event", SHOWN, ids=lambda event: str(event["type"]))
def test_every_page_works_with_any_recorded_events(
    client: Client, bob: User, recorder: Recorder, event: dict[str, Any]
) -> None:
    recorder.send([event])
    assert recorder.run.events.filter(type=event["type"]).exists()
    client.force_login(bob)
    for page in PAGES:
        assert client.get(f"/runs/{recorder.run.public_id}/{page}").status_code == 200, page
    assert client.get("/").status_code == 200


def test_numbers_are_stored_as_numbers_beside_unknown_fields(recorder: Recorder) -> None:
    recorder.send([{**bins(accuracy="0.5", more=[1, "NaN"]), "gap": "NaN", "beyond": {"a": "NaN"}}])
    payload = recorder.run.events.get(type="calibration").payload
    assert (payload["bins"][0]["accuracy"], payload["bins"][0]["more"]) == (0.5, [1, "NaN"])
    assert (payload["gap"], payload["beyond"]) == (None, {"a": "NaN"})
