"""The list of runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tests.webapp.recorded import SPEC, recorded
from webapp.access.models import Team, User
from webapp.base.number_text import duration, plain
from webapp.clients import runs
from webapp.pages.runs.finding.matching import MOST_WORDS
from webapp.pages.runs.run_list import PAGE_SIZE
from webapp.pages.templatetags.figures import sparkline
from webapp.runs import lifecycle
from webapp.runs.models import Run, RunValue


def list_text(client: Client, query: str = "") -> str:
    response = client.get(f"/{query}")
    assert response.status_code == 200
    return response.content.decode()


def test_an_empty_list_says_what_to_do(client: Client, alice: User) -> None:
    client.force_login(alice)
    assert "Start the first run" in list_text(client)


def test_a_search_for_hundreds_of_words_asks_for_few_of_them(
    client: Client, alice: User, run: Run
) -> None:
    client.force_login(alice)
    words = "+".join(["first"] * 100 + [f"word{number}" for number in range(300)])
    with CaptureQueriesContext(connection) as queries:
        text = list_text(client, f"?q={words}")
    assert "Only the first 8 words are searched." in text
    conditions = [query["sql"].count("@@") for query in queries]
    assert sum(conditions) == MOST_WORDS

    # The same word counts once.
    assert "words are searched" not in list_text(client, "?q=" + "+".join(["first"] * 100))
    assert run.name in list_text(client, "?q=" + "+".join(["first"] * 100))


def test_an_empty_list_does_not_ask_a_viewer_to_start_a_run(client: Client, bob: User) -> None:
    client.force_login(bob)
    assert "Start the first run" not in list_text(client)


def test_a_row_shows_models_pass_rate_and_gain(
    client: Client, still: Team, alice: User, bob: User, tmp_path: Path
) -> None:
    recorded(still, alice, tmp_path)
    client.force_login(bob)
    page = list_text(client)
    for text in (
        "paced on arithmetic",
        "student",
        "← teacher",
        "52.0 %",
        "+12.0",
        " of 60",
        "Alice",
        "<polyline",
    ):
        assert text in page


def test_a_run_of_unknown_length_has_no_progress_bar(
    client: Client, still: Team, alice: User
) -> None:
    logged = runs.create(runs.project(still, "sums"), alice, "trackio", "from afar", "key")
    client.force_login(alice)
    assert (
        "<progress" not in list_text(client)
        and "← –" not in list_text(client)
        and "step <span" in list_text(client)
    )
    Run.objects.filter(pk=logged.pk).update(total_steps=9)
    assert "<progress" in list_text(client)


def test_the_runs_of_another_team_are_not_listed(client: Client, run: Run, charlie: User) -> None:
    client.force_login(charlie)
    assert run.name not in list_text(client)


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("?q=uniform", {"uniform seed 1"}),
        ("?q=seed+uniform", {"uniform seed 1"}),
        ("?q=alice", {"paced seed 1", "uniform seed 1"}),
        ("?state=queued", {"paced seed 1", "uniform seed 1"}),
        ("?state=failed", set()),
        ("?q=%00", {"paced seed 1", "uniform seed 1"}),
        ("?state=asleep&before=x", {"paced seed 1", "uniform seed 1"}),
        ("?before=99999999999999999999", {"paced seed 1", "uniform seed 1"}),
    ],
)
def test_the_filter_keeps_matching_runs(
    client: Client, still: Team, alice: User, query: str, names: set[str]
) -> None:
    for name in ("paced seed 1", "uniform seed 1"):
        lifecycle.create_run(still, alice, {**SPEC, "name": name}, recipe="other")
    client.force_login(alice)
    assert {run.name for run in client.get(f"/{query}").context["runs"]} == names


def test_every_run_is_on_some_page(client: Client, still: Team, alice: User) -> None:
    Run.objects.bulk_create(
        Run(team=still, owner=alice, name=f"run {i}") for i in range(PAGE_SIZE + 3)
    )
    client.force_login(alice)
    first = client.get("/").context
    second = client.get(f"/{first['next']}").context
    assert len({run.pk for run in [*first["runs"], *second["runs"]]}) == PAGE_SIZE + 3
    assert second["next"] == ""
    # As addresses of earlier versions do.
    oldest = first["runs"][-1].pk
    assert client.get(f"/?before={oldest}").context["runs"] == second["runs"]


def test_what_people_and_clients_write_is_no_markup(client: Client, run: Run, alice: User) -> None:
    tag = '<b title="x">'
    summary = dict.fromkeys(("student", "teacher", "phase", "sketched"), tag)
    texts = dict.fromkeys(("name", "recipe"), tag)
    changes = {"tags": [tag], "summary": {**summary, "sparkline": [1, 2]}, "state": "running"}
    Run.objects.filter(pk=run.pk).update(**texts, **changes)
    RunValue.objects.create(run=run, team=run.team, key=tag, text=tag, is_setting=False)
    client.force_login(alice)
    for query in ({}, {"column": tag}):
        page = client.get("/", query).content.decode()
        assert tag not in page
        assert "&lt;b title=&quot;x&quot;&gt;" in page


def test_more_runs_need_no_more_queries(
    client: Client,
    still: Team,
    alice: User,
    django_assert_num_queries: Callable[..., Any],
    django_assert_max_num_queries: Callable[..., Any],
) -> None:
    client.force_login(alice)
    Run.objects.bulk_create(Run(team=still, owner=alice, name=f"run {i}") for i in range(30))
    with django_assert_max_num_queries(9) as queries:
        client.get("/")
    runs = [query["sql"] for query in queries.captured_queries if 'FROM "runs_run"' in query["sql"]]
    # Those that are pinned, the keys of the others in order, and their rows.
    assert len(runs) == 3


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.000123, "1.23e−4"),
        (0.5, "0.500"),
        (12.345, "12.3"),
        (-4567.0, "−4567"),
        (2.5e7, "2.50e7"),
        ("NaN", "NaN"),
        (None, "–"),
        (0, "0"),
    ],
)
def test_numbers_have_three_digits(value: Any, text: str) -> None:
    assert plain(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59, "59 s"),
        (75, "1 min 15 s"),
        (3600, "1 h"),
        (5400, "1 h 30 min"),
        (90_000, "1 d 1 h"),
        (None, "–"),
    ],
)
def test_durations_have_two_units(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_a_sparkline_leaves_out_values_that_are_not_numbers() -> None:
    assert sparkline([0.1, "NaN", 0.3]).count(",") == 2  # type: ignore[list-item]
    assert sparkline([0.1]) == ""
