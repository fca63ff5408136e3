"""The page that compares runs: what it says, for whom, and at which cost."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import resolve

from tests.webapp import panel_events
from tests.webapp.compared import compared, definition, solved
from tests.webapp.recorded import recorded
from webapp.access.models import Team, User
from webapp.comparisons import saving
from webapp.comparisons.choices import Choices
from webapp.comparisons.models import SavedComparison
from webapp.library.models import Artifact
from webapp.runs import lifecycle
from webapp.runs.models import Run
from webapp.sharing.models import ShareLink

pytestmark = pytest.mark.django_db
MISSING = "No per-problem results: evaluate again"


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def text_of(client: Client, address: str) -> str:
    response = client.get(address)
    assert response.status_code == 200, response.content.decode()
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode()))


def address_of(*runs: Run, **choices: str) -> str:
    query = "&".join(f"{name}={value}" for name, value in choices.items())
    return f"/compare/?runs={','.join(run.public_id for run in runs)}&{query}"


@pytest.fixture
def pair(still: Team, alice: User, tmp_path: Path) -> tuple[Run, Run]:
    """Two runs that differ in one setting, of which the second solves far more."""
    return (
        compared(still, alice, tmp_path / "a", solved(0.3), definition(0), "plain"),
        compared(still, alice, tmp_path / "b", solved(0.8, seed=1), definition(0, 2.0), "sharp"),
    )


@pytest.fixture
def groups(still: Team, alice: User, tmp_path: Path) -> list[Run]:
    """Two settings over three seeds; the second solves more for every seed."""
    return [
        compared(
            still,
            alice,
            tmp_path / f"{alpha}-{seed}",
            solved(0.3 + 0.2 * (alpha - 1), seed=seed),
            definition(seed, alpha),
            f"alpha {alpha:g}",
        )
        for alpha in (1.0, 2.0)
        for seed in (1, 2, 3)
    ]


def test_two_runs_are_compared_problem_by_problem(alice: User, pair: tuple[Run, Run]) -> None:
    text = text_of(signed_in(alice), address_of(*pair))
    assert "sharp against plain: Higher by" in text
    assert "over 40 problems" in text and "two checkpoints, not about settings" in text
    assert "pool.weighting.alpha 1.0 2.0" in text and "data.train.count" not in text
    assert "data.train.count" in text_of(signed_in(alice), address_of(*pair, settings="all"))


def test_the_pinned_baseline_turns_the_statement_around(alice: User, pair: tuple[Run, Run]) -> None:
    text = text_of(signed_in(alice), address_of(*pair, baseline=pair[1].public_id))
    assert "plain against sharp: Lower by" in text


def test_groups_are_compared_over_their_shared_seeds(alice: User, groups: list[Run]) -> None:
    text = text_of(signed_in(alice), address_of(*groups))
    assert "2 groups of 6 runs" in text
    assert "alpha 2 against alpha 1: " in text and "over 3 shared seeds" in text
    assert "Paired by seed" in text
    # What the runs of a group differ in is named.
    assert re.search(r"Ignored: seed \(1, 2, 3\)", text)


def test_single_runs_of_groups_can_be_compared(alice: User, groups: list[Run]) -> None:
    text = text_of(signed_in(alice), address_of(*groups, by="runs"))
    assert "alpha 2, seed 1 against alpha 1, seed 1: Higher" in text
    assert "5 comparisons, decided at 99 %" in text and text.count("decides") >= 5


def test_a_split_leaves_too_few_seeds_for_a_verdict(alice: User, groups: list[Run]) -> None:
    text = text_of(signed_in(alice), address_of(*groups, split=groups[5].public_id))
    assert "Group by settings again" in text
    assert text.count("No verdict on settings") == 2, text


def test_a_merge_joins_groups(alice: User, groups: list[Run]) -> None:
    merge = f"{groups[0].public_id}:{groups[3].public_id}"
    assert "All runs are one group" in text_of(signed_in(alice), address_of(*groups, merge=merge))


def test_any_metric_is_compared_over_seeds_and_one_value_a_side_is_not(
    alice: User, groups: list[Run]
) -> None:
    client = signed_in(alice)
    # The final losses are all the same.
    assert "Too few to say: the difference is the same for all seeds" in text_of(
        client, address_of(*groups, metric="loss")
    )
    assert "one value of loss a side has no interval" in text_of(
        client, address_of(groups[0], groups[3], metric="loss")
    )


def test_runs_without_results_by_problem_get_no_statement(
    still: Team, alice: User, pair: tuple[Run, Run], tmp_path: Path
) -> None:
    old = compared(still, alice, tmp_path / "old", None, definition(0, 3.0), "old")
    text = text_of(signed_in(alice), address_of(*pair, old))
    assert f"old against plain: {MISSING} (old)." in text
    assert "sharp against plain: Higher" in text


def test_results_whose_file_the_team_does_not_hold_are_none(
    alice: User, pair: tuple[Run, Run]
) -> None:
    Artifact.objects.filter(sha256=pair[1].evaluations.get().artifact).delete()
    assert f"{MISSING} (sharp)" in text_of(signed_in(alice), address_of(*pair))


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"fingerprint": "f2" * 16}, "The sets of problems differ."),
        ({"answer_limit": 128}, "The answer limit differs: 128 and 64."),
        ({"prompt": "Solve {question}"}, "The prompt differs: Solve {question} and {question}."),
    ],
)
def test_other_conditions_are_named_and_nothing_is_concluded(
    still: Team,
    alice: User,
    pair: tuple[Run, Run],
    tmp_path: Path,
    changed: dict[str, str],
    sentence: str,
) -> None:
    other = compared(still, alice, tmp_path / "o", solved(0.9), definition(0, 3), "o", **changed)  # type: ignore[arg-type]
    text = text_of(signed_in(alice), address_of(pair[0], other))
    assert f"o against plain: Not comparable. {sentence}" in text


def test_reliability_is_drawn_for_the_runs_that_measured_it(
    still: Team, alice: User, pair: tuple[Run, Run], tmp_path: Path
) -> None:
    measured = compared(
        still,
        alice,
        tmp_path / "m",
        solved(0.5),
        definition(0, 3.0),
        "measured",
        extra=[panel_events.calibration(60, "after")],
    )
    client = signed_in(alice)
    assert "Reliability after training" not in text_of(client, address_of(*pair))
    page = client.get(address_of(*pair, measured)).content.decode()
    assert page.count('class="reliability-curve') == 1 and "measured: ECE" in page


def test_a_setting_is_plotted_against_the_result(alice: User, pair: tuple[Run, Run]) -> None:
    page = signed_in(alice).get(address_of(*pair)).content.decode()
    assert "pool.weighting.alpha and eval/pass_rate" in page
    assert "sharp: 2.00, " in page


def test_series_of_all_runs_come_together_and_bounded(alice: User, pair: tuple[Run, Run]) -> None:
    client = signed_in(alice)
    ids = ",".join(run.public_id for run in pair)
    answer = client.get(f"/compare/series.json?runs={ids}&key=loss&axis=tokens").json()
    assert answer["axis"] == "tokens"
    assert [series["run"] for series in answer["series"]] == [run.public_id for run in pair]
    assert answer["series"][0]["x"] == [480, 960, 1440]
    assert client.get("/compare/series.json?key=loss").status_code == 400
    assert client.get(f"/compare/series.json?runs={ids}&from=x&to=nan").status_code == 200


def test_runs_of_other_teams_do_not_exist(
    charlie: User, alice: User, pair: tuple[Run, Run]
) -> None:
    for address in (address_of(*pair), address_of(*pair).replace("/?", "/series.json?")):
        assert signed_in(charlie).get(address).status_code == 404
    assert signed_in(alice).get("/compare/?runs=%00,xyz").status_code == 404


def test_more_than_a_hundred_runs_are_refused_in_a_sentence(alice: User) -> None:
    ids = ",".join(f"run{i}" for i in range(101))
    answer = signed_in(alice).get(f"/compare/?runs={ids}")
    assert answer.status_code == 400 and "At most 100 runs" in answer.content.decode()


@pytest.mark.parametrize(
    "query",
    ["metric=%00", "delta=x", "by=%27", "split=,,", "merge=:,a:b:c", "axis=x", "charts=%0a%00",
     "against=nothing", "baseline=%00"],
)  # fmt: skip
def test_choices_that_cannot_be_used_count_as_none(
    alice: User, pair: tuple[Run, Run], query: str
) -> None:
    assert "sharp against plain: Higher" in text_of(signed_in(alice), f"{address_of(*pair)}{query}")


def test_queries_do_not_grow_with_the_runs(
    still: Team, alice: User, pair: tuple[Run, Run], groups: list[Run]
) -> None:
    client = signed_in(alice)
    client.get(address_of(*pair))
    counts = []
    for runs in (pair, [*pair, *groups]):
        with CaptureQueriesContext(
            connection,
        ) as queries:
            assert client.get(address_of(*runs)).status_code == 200
        counts.append(len(queries))
    assert counts[0] == counts[1]


def test_a_comparison_is_saved_with_its_choices_and_deleted(alice: User, groups: list[Run]) -> None:
    client = signed_in(alice)
    form = {
        "runs": ",".join(run.public_id for run in groups),
        "name": "alpha",
        "baseline": groups[3].public_id,
        "delta": "0.1",
    }
    page = client.post("/compare/save/", form, follow=True)
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.content.decode()))
    assert "Comparison saved." in text and "alpha 1 against alpha 2: " in text
    assert "δ = 0.1" in text
    saved = SavedComparison.objects.get()
    assert "alpha" in text_of(client, "/compare/")
    # Other choices for a moment change nothing that is stored.
    assert "δ = 0.3" in text_of(client, f"/compare/{saved.public_id}/?chosen=1&delta=0.3")
    assert "δ = 0.1" in text_of(client, f"/compare/{saved.public_id}/")
    client.post(f"/compare/{saved.public_id}/delete/")
    assert not SavedComparison.objects.exists() and Run.objects.count() == 6


@pytest.mark.parametrize(
    ("name", "sentence"), [(" ", "has no name"), ("x" * 121, "longer than 120")]
)
def test_a_name_that_cannot_be_stored_is_refused_in_a_sentence(
    alice: User, pair: tuple[Run, Run], name: str, sentence: str
) -> None:
    form = {"runs": ",".join(run.public_id for run in pair), "name": name}
    page = signed_in(alice).post("/compare/save/", form, follow=True)
    assert sentence in page.content.decode() and not SavedComparison.objects.exists()


def test_a_viewer_saves_nothing(bob: User, pair: tuple[Run, Run]) -> None:
    form = {"runs": pair[0].public_id, "name": "x"}
    assert signed_in(bob).post("/compare/save/", form).status_code == 403


def test_a_link_shows_the_comparison_and_no_page_of_its_runs(
    still: Team, alice: User, pair: tuple[Run, Run]
) -> None:
    saved = saving.save(still, alice, "both", pair, Choices())
    editor, guest = signed_in(alice), Client()
    page = editor.post(f"/compare/{saved.public_id}/share/", {"days": "7"}, follow=True)
    match = re.search(r"http://testserver(/s/[^/]+/)", page.content.decode())
    assert match is not None
    shown = guest.get(match[1], follow=True)
    assert shown.status_code == 200 and "Higher by" in shown.content.decode()
    # No link leads to what a guest cannot open.
    assert f"/runs/{pair[0].public_id}/" not in shown.content.decode()
    series = guest.get(f"/compare/{saved.public_id}/series.json?key=loss").json()["series"]
    assert len(series) == 2
    for closed in (f"/runs/{pair[0].public_id}/", f"/runs/{pair[0].public_id}/series.json"):
        assert guest.get(closed).status_code == 404
    for closed in (address_of(*pair), f"/compare/{saved.public_id}/share/", "/compare/"):
        assert guest.get(closed).status_code == 302
    link = ShareLink.objects.get()
    editor.post(f"/compare/{saved.public_id}/share/{link.pk}/revoke/")
    assert guest.get(f"/compare/{saved.public_id}/").status_code == 302


def test_a_comparison_whose_runs_were_deleted_says_so(
    still: Team, alice: User, pair: tuple[Run, Run]
) -> None:
    saved = saving.save(still, alice, "both", pair, Choices())
    Run.objects.all().delete()
    answer = signed_in(alice).get(f"/compare/{saved.public_id}/")
    assert answer.status_code == 410 and "deleted" in answer.content.decode()


def test_a_run_without_results_by_problem_can_be_evaluated_again_where_it_has_a_checkpoint(
    still: Team, alice: User, bob: User, pair: tuple[Run, Run], tmp_path: Path
) -> None:
    older = recorded(still, alice, tmp_path / "older")
    without = compared(still, alice, tmp_path / "c", None, name="no checkpoint")
    address = address_of(pair[0], older, without)
    page = signed_in(alice).get(address).content.decode()
    link = f"/jobs/new/?kind=evaluation&amp;run={older.public_id}&amp;step=30"
    assert page.count("/jobs/new/?kind=evaluation") == 1 and link in page
    assert signed_in(alice).get(link.replace("&amp;", "&")).status_code == 200
    # A viewer starts no job.
    assert "/jobs/new/?kind=evaluation" not in signed_in(bob).get(address).content.decode()


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), float("-inf"), 1e308, -1e200, 1e100])
def test_a_metric_that_diverged_has_no_verdict(
    still: Team, alice: User, tmp_path: Path, loss: float
) -> None:
    runs = [
        compared(
            still,
            alice,
            tmp_path / f"{alpha}-{seed}",
            None,
            definition(seed, alpha),
            extra=[{"type": "metrics", "step": 9, "values": {"loss": value}}],
        )
        for alpha in (1.0, 2.0)
        for seed, value in enumerate((loss, -loss, 1.0))
    ]
    text = text_of(signed_in(alice), address_of(*runs, metric="loss"))
    assert "No verdict: a value of loss is infinite, no number or too large." in text


@pytest.mark.parametrize("interest", ["1e-200", "1e-320", "1e300"])
def test_any_smallest_difference_may_be_typed(
    alice: User, groups: list[Run], interest: str
) -> None:
    for by in ("runs", "groups"):
        assert text_of(signed_in(alice), address_of(*groups, delta=interest, by=by))


def test_a_run_that_has_not_ended_has_no_final_results_yet(
    still: Team, alice: User, pair: tuple[Run, Run]
) -> None:
    waiting = lifecycle.create_run(still, alice, definition(0, 5.0))
    text = text_of(signed_in(alice), address_of(pair[0], waiting))
    assert f"No final results yet ({waiting.name})" in text and MISSING not in text


@pytest.mark.parametrize(
    "address", ["/compare/", "/compare/series.json", "/compare/x/", "/compare/x/series.json"]
)
def test_comparisons_take_turns_with_other_slow_pages(address: str) -> None:
    assert getattr(resolve(address).func, "is_slow", False)
