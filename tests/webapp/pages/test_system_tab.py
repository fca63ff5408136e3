"""The System tab: the time of a step by phase, throughput, memory, and teachers on servers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from tests.webapp.recorded import SPEC, Recorder
from webapp.access.models import Team, User
from webapp.pages.panels.system import charts
from webapp.runs import lifecycle

SERVED = {"kind": "served"}


@pytest.fixture
def recorder(still: Team, alice: User, tmp_path: Path) -> Recorder:
    return Recorder(lifecycle.create_run(still, alice, SPEC), tmp_path)


def board(client: Client, recorder: Recorder) -> dict[str, Any]:
    response = client.get(f"/runs/{recorder.run.public_id}/system/")
    assert response.status_code == 200
    charts: list[dict[str, Any]] = response.context["board"]["charts"]
    return {chart["id"]: chart for chart in charts}


def test_the_shares_of_a_steps_time_are_drawn_on_top_of_each_other(
    client: Client, bob: User, recorder: Recorder
) -> None:
    client.force_login(bob)
    drawn = board(client, recorder)
    assert list(drawn) == ["time", "throughput", "memory"]
    assert drawn["time"]["stacked"]
    assert not drawn["throughput"]["stacked"]
    keys = [line["key"] for line in drawn["time"]["lines"]]
    assert "time_share/teacher" in keys and "time_share/other" in keys


def test_the_tab_is_among_those_of_a_run(client: Client, bob: User, recorder: Recorder) -> None:
    client.force_login(bob)
    page = client.get(f"/runs/{recorder.run.public_id}/")
    assert ("system", "System") in page.context["tabs"]


def test_teachers_on_servers_have_charts_before_the_first_step() -> None:
    spec = {
        "networks": {
            "teacher": {"kind": "model"},
            "specialists": [{"domains": ["add", "long sub"], "teacher": SERVED}],
        }
    }
    drawn = {chart.id: chart for chart in charts([], spec)}
    assert [line.label for line in drawn["teacher-wait"].lines] == ["add+long_sub"]
    assert drawn["teacher-bytes"].keys == ["teacher/add+long_sub/bytes_per_token"]


def test_each_teacher_that_was_measured_has_a_line() -> None:
    keys = ["teacher/a/b/seconds", "teacher/main/seconds", "teacher/cost", "loss"]
    drawn = {chart.id: chart for chart in charts(keys, {})}
    assert [line.label for line in drawn["teacher-wait"].lines] == ["a/b", "main"]
    assert "teacher-bytes" not in drawn
