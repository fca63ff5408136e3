"""The tabs of a run: overview, frontier, log and config."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from django.test import Client

from tests.webapp.recorded import EVERY, PROBLEMS, STAGES, Recorder, recorded
from trainer.events.event_types import EVENT_TYPES
from webapp.access.models import Team, User
from webapp.ingest import event_log
from webapp.live.frames import PAGE_PARTS
from webapp.pages.panels import evaluations, frontier
from webapp.pages.runs.tabs import PANELS
from webapp.runs import lifecycle
from webapp.runs.models import Attempt, Run

TABS = ("", "frontier/", "rollouts/", "log/", "config/", "checkpoints/")


def test_panels_and_page_parts_are_of_declared_types_of_events() -> None:
    panel_types = {kind for _, kinds, _ in PANELS.values() for kind in kinds}
    assert panel_types | set(PAGE_PARTS) <= set(EVENT_TYPES)


@pytest.fixture
def finished(still: Team, alice: User, tmp_path: Path) -> Run:
    return recorded(still, alice, tmp_path)


def page_text(client: Client, run: Run, tab: str = "") -> str:
    response = client.get(f"/runs/{run.public_id}/{tab}")
    assert response.status_code == 200
    return response.content.decode()


@pytest.mark.parametrize("tab", TABS)
def test_a_queued_run_has_every_tab(client: Client, run: Run, bob: User, tab: str) -> None:
    client.force_login(bob)
    assert "no machine has 1 CPU slot" in page_text(client, run, tab)


@pytest.mark.parametrize("tab", TABS)
def test_an_imported_run_has_every_tab(client: Client, still: Team, bob: User, tab: str) -> None:
    run = lifecycle.create_run(
        still, None, None, name="from elsewhere", source=Run.Source.IMPORTED, state="completed"
    )
    client.force_login(bob)
    assert "from elsewhere" in page_text(client, run, tab)


@pytest.mark.parametrize("tab", TABS)
def test_a_stranger_sees_no_tab(client: Client, run: Run, charlie: User, tab: str) -> None:
    client.force_login(charlie)
    assert client.get(f"/runs/{run.public_id}/{tab}").status_code == 404


def test_the_overview_states_the_result_as_a_sentence(
    client: Client, finished: Run, bob: User
) -> None:
    client.force_login(bob)
    page = page_text(client, finished)
    assert (
        "40.0 % → 52.0 % of the held-out problems, +12.0 points on the same problems (95 % "
        "interval +1.0 to +20.0)"
    ) in page
    assert "better than before, beyond the noise of the measurement." in page


def test_an_evaluation_of_some_problems_is_compared_on_the_same_problems() -> None:
    before = {"pass_rate": 0.406, "problems": 1520, "samples": 2}
    now = {
        "pass_rate": 0.479,
        "step": 40,
        "problems": 240,
        "difference": {"pass_rate": 0.067, "interval": [0.03, 0.1]},
    }
    comparison = evaluations.SkillComparison("evaluation", before, now, False, [])
    assert evaluations.result_text(comparison).startswith(
        "41.2 % → 47.9 % of 240 of the held-out problems at step 40, +6.7 points on the "
        "same problems"
    )


def test_a_student_that_solves_nothing_gets_a_plain_sentence(finished: Run) -> None:
    payload = {
        "pass_rate": 0.0,
        "interval": [0.0, 0.01],
        "problems": 1319,
        "samples": 2,
        "difference": None,
    }
    comparison = evaluations.SkillComparison("evaluation", None, payload, True, [])
    assert (
        evaluations.result_text(comparison)
        == "The student solved none of the 1,319 held-out problems, with 2 attempts at each."
    )


def test_a_pass_rate_without_verdicts_gets_a_plain_sentence() -> None:
    comparison = evaluations.SkillComparison(
        "evaluation", None, {"pass_rate": "NaN", "problems": 5, "samples": 1}, True, []
    )
    assert "could not tell for any answer" in evaluations.result_text(comparison)


def test_a_failure_is_shown_with_its_remedy(
    client: Client, run: Run, bob: User, tmp_path: Path
) -> None:
    recorder = Recorder(run, tmp_path)
    recorder.end("failed", "The disk was full at step 12.", "Free some space and resume.")
    client.force_login(bob)
    page = page_text(client, run)
    assert "The disk was full at step 12." in page
    assert "Free some space and resume." in page


@pytest.mark.parametrize(("code", "first"), [(64, "Clone and fix"), (70, "Resume")])
def test_a_run_with_a_faulty_definition_offers_clone_before_resume(
    client: Client, run: Run, alice: User, tmp_path: Path, code: int, first: str
) -> None:
    Recorder(run, tmp_path).end("failed", "It could not begin.")
    Attempt.objects.filter(run=run).update(exit={"code": code, "signal": None})
    client.force_login(alice)
    assert re.findall(r'class="button primary"[^>]*>([^<]*)<', page_text(client, run)) == [first]


def test_the_overview_of_a_finished_run_shows_no_end_reason(
    client: Client, finished: Run, bob: User
) -> None:
    client.force_login(bob)
    assert "All stages are done." not in page_text(client, finished)
    assert "All stages are done." in page_text(client, finished, "log/")


@pytest.mark.parametrize(
    ("exit", "sentence"),
    [
        ({"code": 74, "signal": None}, "The disk was full."),
        ({"code": None, "signal": 9}, "It was killed from outside"),
        ({"code": None, "signal": 37}, "It was ended by signal 37."),
    ],
)
def test_the_log_explains_how_an_attempt_ended(
    client: Client, finished: Run, bob: User, exit: dict[str, int | None], sentence: str
) -> None:
    Attempt.objects.filter(run=finished).update(exit=exit)
    client.force_login(bob)
    assert sentence in page_text(client, finished, "log/")


def test_the_log_can_be_filtered_and_downloaded_as_text(
    client: Client, finished: Run, bob: User
) -> None:
    client.force_login(bob)
    assert "The pool keeps 18 of 24 problems." in page_text(client, finished, "log/")
    assert "The pool keeps" not in page_text(client, finished, "log/?level=error")
    text = client.get(f"/runs/{finished.public_id}/log.txt")
    assert text["Content-Type"] == "text/plain; charset=utf-8"
    assert text.content.decode().endswith("info    The pool keeps 18 of 24 problems.\n")


def test_the_downloaded_definition_is_valid_yaml(client: Client, finished: Run, bob: User) -> None:
    client.force_login(bob)
    assert "f1f1f1f1" in page_text(client, finished, "config/")
    definition = yaml.safe_load(client.get(f"/runs/{finished.public_id}/config.yaml").content)
    assert definition["stages"][1]["name"] == STAGES[1]["name"]


def test_the_heat_map_counts_every_tracked_problem_in_every_column(
    client: Client, finished: Run, bob: User
) -> None:
    client.force_login(bob)
    heat = client.get(f"/runs/{finished.public_id}/frontier.json").json()
    assert [column["step"] for column in heat["columns"]] == list(range(0, 61, EVERY))
    assert {sum(column["counts"]) for column in heat["columns"]} == {PROBLEMS}
    assert heat["levels"] == [i / 8 for i in range(9)]
    assert heat["weight"][20] == [0.5, 1.0]


def test_the_frontier_follows_each_problem(client: Client, finished: Run, bob: User) -> None:
    client.force_login(bob)
    assert frontier.trajectories(frontier.tracked(finished))["p07"] == [i / 8 for i in range(7)]
    page = page_text(client, finished, "frontier/")
    assert "What is 11 + 11?" in page
    assert "75.0 %" in page


def test_problems_can_be_filtered_to_the_hopeless(client: Client, finished: Run, bob: User) -> None:
    client.force_login(bob)
    page = page_text(client, finished, "frontier/?kind=hopeless")
    assert "What is 0 + 0?" in page
    assert "What is 11 + 11?" not in page


def test_an_abandoned_branch_is_not_part_of_the_frontier(finished: Run, tmp_path: Path) -> None:
    Run.objects.filter(pk=finished.pk).update(state="stopped")
    finished.refresh_from_db()
    lifecycle.resume(finished)
    resumed = Recorder(finished, tmp_path / "again")
    resumed.send([{"type": "rewind", "step": 30}])
    assert [column.step for column in frontier.tracked(finished)] == [0, 10, 20, 30]


def test_the_path_of_a_tracked_problem_begins_with_the_pool(run: Run, tmp_path: Path) -> None:
    recorder = Recorder(run, tmp_path)
    pool = {"type": "problems", "role": "train", "reason": "initial", "k": 4, "weights": [1.0, 0.0]}
    recorder.send([{**pool, "step": 0, "ids": ["a", "b"], "passed": [1, 4], "verdicts": [4, 4]}])
    later = {"type": "problems", "role": "tracked", "reason": "tracking", "k": 4, "weights": [None]}
    recorder.send([{**later, "step": 20, "ids": ["a"], "passed": [0], "verdicts": [0]}])
    recorder.send([{**later, "step": 40, "ids": ["a"], "passed": [3], "verdicts": [4]}])
    assert frontier.trajectories(frontier.tracked(run)) == {"a": [0.25, None, 0.75]}
    assert frontier.heat_map(run)["columns"][1]["counts"] == [0, 0, 0, 0, 0]


def test_a_long_run_has_no_more_columns_than_a_page_can_show(run: Run, tmp_path: Path) -> None:
    recorder = Recorder(run, tmp_path)
    shared = {
        "type": "problems",
        "role": "tracked",
        "reason": "tracking",
        "k": 1,
        "ids": ["a"],
        "passed": [1],
        "verdicts": [1],
    }
    recorder.send([{**shared, "step": step} for step in range(300)])
    steps = [column.step for column in frontier.tracked(run)]
    assert len(steps) == frontier.MAX_COLUMNS
    assert (steps[0], steps[-1]) == (0, 299)


def test_the_signal_to_noise_ratio_is_shown_if_it_was_measured(
    client: Client, finished: Run, bob: User
) -> None:
    bins = [
        {
            "low": low,
            "high": high,
            "n": 20,
            "snr": snr,
            "interval": [snr / 2, 2 * snr],
            "numerator": 0.1,
            "denominator": 0.5,
        }
        for low, high, snr in ((0.0, 0.0, 0.01), (0.25, 0.5, 0.2), (1.0, 1.0, 0.03))
    ]
    event = {"type": "snr", "step": 0, "wall_time": 1.0, "seq": 10_000, "bins": bins}
    event_log.ingest(finished.pk, 1, [event], Path())
    client.force_login(bob)
    page = client.get(f"/runs/{finished.public_id}/frontier/")
    assert "Gradient signal-to-noise ratio by pass rate" in page.content.decode()
    heights = [snr_bar["height"] for snr_bar in page.context["snr_plot"]["bars"]]
    assert heights[1] == max(heights)
    assert heights[1] / heights[0] == pytest.approx(20)
