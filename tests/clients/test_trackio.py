"""The stock Trackio client logs here unchanged."""

from __future__ import annotations

import math

import pytest

from tests.clients.conftest import Script, only_run
from webapp.runs.models import Event, Run, State
from webapp.series import series_store

pytestmark = pytest.mark.django_db(transaction=True)


def curve(run: Run, key: str) -> dict[float, float]:
    series = series_store.read([run], [key], width=5000)
    return dict(zip(series[0].x, series[0].mean, strict=True)) if series else {}


def test_a_stock_script_becomes_a_run_with_everything_it_said(
    site: str, token: str, script: Script
) -> None:
    output = script("trackio_run.py", site, token)

    run = only_run()
    assert (run.name, run.source, run.state, run.origin.project.name) == (
        "first",
        Run.Source.CLIENT,
        State.RUNNING,
        "sums",
    )
    losses = curve(run, "loss")
    assert list(losses) == list(range(51)) and losses[49] == 1 / 50 and math.isnan(losses[50])
    assert curve(run, "nested/kl")[49] == 24.5
    assert curve(run, "gain") == {50: math.inf}
    assert curve(run, "system/cpu") == {50: 0.5}
    assert curve(run, "on") == {50: 1.0} and (
        run.origin.params["lr"],
        run.origin.params["model/layers"],
    ) == (0.01, 2)
    assert run.origin.not_kept == ["note", "picture", "rows", "shape"]
    lines = [
        (line.payload["level"], line.payload["message"])
        for line in Event.objects.filter(run=run, type="log").order_by("seq")
    ]
    assert ("error", "It diverged: The loss is not a number.") in lines
    assert any(
        "which Stillroom does not keep; it stays in the client's own folder" in message
        for _, message in lines
    )
    assert "refused: Stillroom keeps no artifacts" in output
