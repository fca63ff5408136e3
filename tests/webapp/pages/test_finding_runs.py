"""Finding runs by figures and settings: filters, order, columns, groups and saved views."""

from __future__ import annotations

import math
import random
import re
import time
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlencode

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from webapp.access.models import Team, User
from webapp.clients import runs as client_runs
from webapp.pages.runs import run_list
from webapp.pages.runs.finding import groups, matching
from webapp.pages.runs.finding.filter_language import Term, written
from webapp.runs import deletion, edits, lifecycle, run_values
from webapp.runs.models import Run, RunValue, SavedView, State

NAN = math.nan
# Name, state, tags, learning rate, objective, loss, pass rate.
CAST: list[tuple[str, str, list[str], float, str, float | None, float | None]] = [
    ("paced one", State.COMPLETED, ["ablation"], 1e-3, "reverse_kl", 0.5, 0.7),
    ("paced two", State.COMPLETED, [], 1e-4, "reverse_kl", 0.4, 0.6),
    ("caopd one", State.FAILED, ["ablation", "old"], 1e-4, "grpo", 0.5, None),
    ("caopd two", State.RUNNING, ["old"], 1e-5, "grpo", NAN, 0.2),
    ("no figures", State.QUEUED, [], 1e-5, "grpo", None, None),
]
Row = dict[str, Any]


def made(team: Team, owner: User) -> dict[str, Run]:
    """The runs of CAST by name."""
    runs = {}
    for name, state, tags, lr, objective, loss, rate in CAST:
        spec = {
            "name": name,
            "recipe": name.split()[0],
            "stages": [
                {
                    "objective": {"kind": objective},
                    "optimiser": {"learning_rate": lr},
                    "until": {"steps": 5},
                }
            ],
        }
        run = lifecycle.create_run(team, owner, spec, tags=tags, state=state)
        figures = {"loss": loss, "pass_rate": rate}
        run_values.write_figures(
            run, {key: value for key, value in figures.items() if value is not None}
        )
        runs[name] = run
    return runs


def shown(client: Client, **query: Any) -> list[str]:
    """The names of the runs on all pages, in their order."""
    names: list[str] = []
    address = "?" + urlencode(query, doseq=True)
    while address:
        context = client.get(f"/{address}").context
        names += [run.name for run in context["runs"]]
        address = context["next"]
    return names


@pytest.fixture
def runs(still: Team, alice: User, client: Client) -> dict[str, Run]:
    client.force_login(alice)
    return made(still, alice)


FILTERS = {
    "pass_rate>0.6": ["paced one"],
    "pass_rate>=0.6 lr<1e-3": ["paced two"],
    "pass_rate > 65%": ["paced one"],
    "pass_rate = 70 %": ["paced one"],
    "has:pass_rate pass_rate!=70%": ["caopd two", "paced two"],
    "lr > 1e-4 state: completed": ["paced one"],
    "lr=0.0001": ["caopd one", "paced two"],
    "stages.0.optimiser.learning_rate<1e-4": ["no figures", "caopd two"],
    "objective:grpo -has:pass_rate": ["no figures", "caopd one"],
    "objective!=grpo": ["paced two", "paced one"],
    "loss=nan": ["caopd two"],
    "loss>0": ["caopd one", "paced two", "paced one"],
    "-loss>0.45": ["no figures", "caopd two", "paced two"],
    "loss!=0.5": ["caopd two", "paced two"],
    "tag:ablation -tag:old": ["paced one"],
    "recipe:PACED state:completed owner:alice": ["paced two", "paced one"],
    "state!=completed -state:queued": ["caopd two", "caopd one"],
    'name:"paced o"': ["paced one"],
    "-caopd kl": ["paced two", "paced one"],
    "created>2020-01-01 created<=2020-01-02": [],
    "created>=2026-01-01 one": ["caopd one", "paced one"],
}


def test_a_filter_keeps_the_runs_for_which_it_holds(client: Client, runs: dict[str, Run]) -> None:
    assert {text: shown(client, q=text) for text in FILTERS} == FILTERS


# Name and notes of a run, and words of which it has the first and not the second.
WORDS = {
    ("Qwen2.5-0.5B, seed_7", ""): (
        ["qwen", "0.5b", "5-0", "SEED_7", "7"],
        ["wen2", "b, seed", "77"],
    ),
    ("the first", "Loss of 3e-4\nas before"): (
        ['"loss of"', "3e-4", "LOSS before", '"4\nas"'],
        ['"of loss"', '"first loss"', "4e-3"],
    ),
    ("it's 100% \\o/ a&b|c", "x:*y"): (
        ["it's", "100%", r"\o", "a&b", "b|c", '"x:*"'],
        ["a|b", "!x"],
    ),
    ("蒸馏实验", "Größe"): (["蒸馏", "实验", "验", "GRÖ"], ["验实", "öß"]),
}


def test_a_word_finds_what_begins_with_it(client: Client, runs: dict[str, Run]) -> None:
    run = runs["no figures"]
    for (name, notes), (found, missing) in WORDS.items():
        edits.carry_out_one(edits.rename(name), run, None)
        run.refresh_from_db()
        edits.carry_out_one(edits.write_notes(notes, edits.digest_of(run.notes)), run, None)
        run.refresh_from_db()
        for text in found:
            assert shown(client, q=text) == [name], text
            assert name not in shown(client, q=f"-{text}"), text
        for text in missing:
            assert name not in shown(client, q=text), text
    assert shown(client, q="figures") == []


def test_the_longest_notes_can_be_searched(client: Client, runs: dict[str, Run]) -> None:
    """Postgres refuses a vector of more than 1 MiB; these letters have four bytes each."""
    letters = random.Random(0).choices([chr(code) for code in range(0x1D51E, 0x1D538)], k=10_000)
    notes = "-".join(letters)
    run = runs["no figures"]
    edits.carry_out_one(edits.write_notes(notes, edits.digest_of("")), run, None)
    assert shown(client, q=notes[:100]) == [run.name]


def test_words_find_owners_and_projects(
    client: Client, still: Team, bob: User, runs: dict[str, Run]
) -> None:
    logged = client_runs.create(client_runs.project(still, "Sums of 7"), bob, "mlflow", "afar")
    assert shown(client, q="ums") == shown(client, q="bob") == [logged.name]
    assert shown(client, q="lice one") == ["caopd one", "paced one"]
    client_runs.rename(logged, "nearby")
    assert shown(client, q="nearby") == ["nearby"] and shown(client, q="afar") == []


REFUSALS = {
    "one pas_rate>0.6": ["“pas_rate”", "Nearest: pass_rate", "at character 5"],
    "state:runing": ["“runing” at character 1", "Nearest: running", "silent"],
    "lr<fast": ["“fast” at character 1 is no number"],
    "created>yesterday": ["is no day", "2026-11-30"],
    "tag>x": ["tag is compared by", "character 1"],
    'name:"open': ["character 6 is not closed"],
    "has:nothing": ["“nothing”"],
}


def test_a_wrong_filter_is_answered_by_a_sentence(client: Client, runs: dict[str, Run]) -> None:
    for text, sentences in REFUSALS.items():
        context = client.get("/", {"q": text}).context
        assert context["runs"] == []
        for sentence in sentences:
            assert sentence in context["complaint"], text


NUMBERS = st.sampled_from([1e-5, 1e-4, 1e-3, 0.2, 0.4, 0.5, 0.6, 0.7])
SIGNS = {
    "<": lambda value, limit: value < limit,
    "<=": lambda value, limit: value <= limit,
    ">": lambda value, limit: value > limit,
    ">=": lambda value, limit: value >= limit,
    "=": lambda value, limit: value == limit,
    "!=": lambda value, limit: value != limit,
}
CONDITIONS = st.builds(
    lambda key, sign, value, negated: Term(repr(value), key, sign, negated),
    st.sampled_from(["lr", "loss", "pass_rate"]),
    st.sampled_from(list(SIGNS)),
    NUMBERS,
    st.booleans(),
)


def holds(term: Term, row: Sequence[Any]) -> bool:
    """The plain evaluation of a condition on one row of CAST."""
    value = {"lr": row[3], "loss": row[5], "pass_rate": row[6]}[term.name]
    result = value is not None and SIGNS[term.sign](value, float(term.value))
    return result != term.is_negated


@pytest.mark.django_db
@given(terms=st.lists(CONDITIONS, min_size=1, max_size=3))
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_filters_agree_with_a_plain_evaluation(
    client: Client, runs: dict[str, Run], terms: list[Term]
) -> None:
    expected = [row[0] for row in reversed(CAST) if all(holds(term, row) for term in terms)]
    assert shown(client, q=written(terms)) == expected


SORTS = {
    "loss": ["paced two", "paced one", "caopd one", "caopd two", "no figures"],
    "-loss": ["caopd one", "paced one", "paced two", "caopd two", "no figures"],
    "-pass_rate": ["paced one", "paced two", "caopd two", "no figures", "caopd one"],
    "name": ["caopd one", "caopd two", "no figures", "paced one", "paced two"],
    "-created": ["no figures", "caopd two", "caopd one", "paced two", "paced one"],
    "created": ["paced one", "paced two", "caopd one", "caopd two", "no figures"],
    "objective": ["caopd one", "caopd two", "no figures", "paced one", "paced two"],
    "-owner": ["no figures", "caopd two", "caopd one", "paced two", "paced one"],
}


@pytest.mark.parametrize("size", [2, 50])
def test_runs_are_sorted_across_pages_with_missing_values_last(
    client: Client, runs: dict[str, Run], monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(run_list, "PAGE_SIZE", size)
    assert {sort: shown(client, sort=sort) for sort in SORTS} == SORTS


ODD_ADDRESSES: list[dict[str, Any]] = [
    {"after": "number.1.x"},
    {"after": "text.9999999999999999999999.a"},
    {"after": "number.1.0x1p99999", "sort": "loss"},
    {"after": "missing.", "sort": "-loss"},
    {"column": ["\0", "x" * 500, "loss\0"], "sort": "-"},
    {"group": "\0lr", "sort": "\0"},
    {"view": "99999999999999999999"},
    {"sort": "x" * 5000, "group": "y" * 5000},
    {"q": r"' \ '' \' \\ :* & | ! ( ) <->"},
    {"q": f'-{"x" * 3000} "{"y " * 400}" " "'},
]


def test_no_address_is_answered_by_an_error(client: Client, runs: dict[str, Run]) -> None:
    for query in ODD_ADDRESSES:
        assert client.get("/", query).status_code == 200, query


def test_chosen_columns_show_figures_and_settings(client: Client, runs: dict[str, Run]) -> None:
    response = client.get("/", {"column": ["lr", "loss", "objective"], "q": "two"})
    cells = re.findall(r'<td class="number value-cell[^>]*>([^<]*)</td>', response.context["rows"])
    assert [cells[:3], cells[3:]] == [
        ["1.00e−5", "NaN", "grpo"],
        ["1.00e−4", "0.400", "reverse_kl"],
    ]
    assert "loss, lower is better" in response.content.decode()


def test_an_unknown_column_is_named(client: Client, runs: dict[str, Run]) -> None:
    notes = client.get("/", {"column": ["state", "los"]}).context["notes"]
    assert len(notes) == 1 and "“los”" in notes[0] and "Nearest: loss" in notes[0]


def test_groups_have_the_mean_and_interval_of_all_their_runs(
    client: Client, runs: dict[str, Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    # A group's mean must not depend on the page.
    monkeypatch.setattr(run_list, "PAGE_SIZE", 1)
    rows = client.get("/", {"group": "objective", "column": ["loss", "pass_rate"]}).context[
        "groups"
    ]
    figures = {
        row["group"].text: (row["group"].count, [texts for _, texts in row["cells"]])
        for row in rows
    }
    # t(0.975, 1) = 12.706; the standard deviation of 0.5 and 0.4 is 0.0707, of 0.7 and 0.6 too.
    assert figures == {
        "grpo": (3, [("0.500", "1 run"), ("20.0 %", "1 run")]),
        "reverse_kl": (2, [("0.450 ± 0.635", "2 runs"), ("65.0 % ± 63.5", "2 runs")]),
    }
    assert (
        shown(client, q="objective=grpo")
        == [run.name for run in client.get(f"/{rows[0]['address']}").context["runs"]]
        or len(rows) == 2
    )


def test_runs_without_the_setting_are_a_group(client: Client, runs: dict[str, Run]) -> None:
    rows = client.get("/", {"group": "pass_rate"}).context["groups"]
    without = next(row for row in rows if row["group"].text == "no value")
    assert without["group"].count == 2
    names = [run.name for run in client.get(f"/{without['address']}").context["runs"]]
    assert names == ["no figures", "caopd one"]


ADDRESSES: list[dict[str, Any]] = [
    {"q": "lr<1 one", "sort": "-loss", "column": ["loss", "lr", "state"]},
    {"q": "lr<1 -two kl grpo", "group": "lr", "column": ["loss", "lr", "pass_rate"]},
]


@pytest.mark.parametrize("query", ADDRESSES)
def test_query_counts_do_not_grow_with_the_runs(
    client: Client, still: Team, alice: User, runs: dict[str, Run], query: dict[str, Any]
) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            client.get("/", query)
        return len(captured)

    few = queries()
    made(still, alice)
    made(still, alice)
    assert queries() == few


def test_groups_are_read_in_as_many_queries_however_many_columns(
    client: Client, runs: dict[str, Run]
) -> None:
    def queries(columns: list[str]) -> int:
        with CaptureQueriesContext(connection) as captured:
            client.get("/", {"group": "objective", "column": columns})
        return len(captured)

    assert queries(["loss"]) == queries(["loss", "pass_rate", "lr"])


def test_of_many_groups_the_largest_are_shown_with_their_figures(
    client: Client, runs: dict[str, Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(groups, "MOST_GROUPS", 1)
    context = client.get("/", {"group": "objective", "column": ["loss"]}).context
    assert [(row["group"].text, row["group"].count) for row in context["groups"]] == [("grpo", 3)]
    assert [texts for _, texts in context["groups"][0]["cells"]] == [("0.500", "1 run")]
    assert context["most_groups"] == 1


def test_a_view_is_saved_opened_renamed_and_deleted(
    client: Client, runs: dict[str, Run], alice: User, bob: User
) -> None:
    shown_query = "q=objective%3Agrpo&sort=-loss&column=loss&after=number.1.0x1p0&view=9"
    saved = client.post("/views/", {"name": " By loss ", "query": f"?{shown_query}"})
    view = SavedView.objects.get()
    assert (view.name, view.query) == ("By loss", "q=objective%3Agrpo&sort=-loss&column=loss")
    assert saved.headers["Location"] == f"/?{view.query}&view={view.pk}"
    client.post(f"/views/{view.pk}/change/", {"query": f"?sort=loss&view={view.pk}&after=x"})
    view.refresh_from_db()
    assert view.query == "sort=loss"
    client.post(f"/views/{view.pk}/rename/", {"name": "Lowest loss"})
    client.force_login(bob)
    opened = client.get(f"/views/{view.pk}/", follow=True)
    assert opened.context["view"].name == "Lowest loss"
    assert opened.context["runs"][0].name == "paced two"
    assert client.post(f"/views/{view.pk}/delete/").status_code == 403
    client.force_login(alice)
    client.post(f"/views/{view.pk}/delete/")
    assert not SavedView.objects.exists()


def test_a_name_of_another_view_is_refused(
    client: Client, runs: dict[str, Run], alice: User
) -> None:
    for name in ("first", "second"):
        client.post("/views/", {"name": name, "query": "sort=loss"})
    view = SavedView.objects.get(name="second")
    # The database refuses it, so that two people at once are answered so too.
    for form in ({"name": "first", "query": "sort=-loss"}, {"name": "first"}):
        address = "/views/" if "query" in form else f"/views/{view.pk}/rename/"
        page = client.post(address, form, follow=True).content.decode()
        assert "view “first”" in page and "Choose another name" in page
    names = SavedView.objects.order_by("name").values_list("name", "query")
    assert list(names) == [("first", "sort=loss"), ("second", "sort=loss")]


def test_a_view_says_whether_it_is_shown_as_it_was_saved(
    client: Client, runs: dict[str, Run]
) -> None:
    client.post("/views/", {"name": "By loss", "query": "?sort=loss&q=has:loss"})
    view = SavedView.objects.get()
    for query, is_changed in (
        ("q=has:loss&sort=loss", False),
        # As the form sends it.
        ("q=has%3Aloss&state=&source=&sort=loss&column=state&column=", True),
        ("q=has:loss&sort=loss&after=number.1.0x1p0", False),
        ("q=has:loss&sort=-loss", True),
    ):
        page = client.get(f"/?{query}&view={view.pk}")
        assert page.context["is_view_changed"] == is_changed, query
        assert ("Save changes" in page.content.decode()) == is_changed
        assert ("Revert" in page.content.decode()) == is_changed


def test_all_runs_that_match_can_be_selected(
    client: Client, runs: dict[str, Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    query = {"q": "has:loss", "sort": "loss", "after": "missing.1", "column": "loss"}
    answer = client.get("/runs/matching.json", query).json()
    names = ("paced two", "paced one", "caopd one", "caopd two")
    assert answer["runs"] == [runs[name].public_id for name in names]
    assert not answer["more"]
    monkeypatch.setattr(edits, "MOST_AT_ONCE", 3)
    first = client.get("/runs/matching.json", query).json()
    assert first == {"runs": answer["runs"][:3], "more": True}
    assert client.get("/runs/matching.json", {"q": "lr<"}).status_code == 422


def test_completions_name_keys_and_their_values(
    client: Client, runs: dict[str, Run], charlie: User
) -> None:
    names = client.get("/runs/completions.json").json()
    assert {"lr", "loss", "stages.0.optimiser.learning_rate"} <= set(names["keys"])
    assert "state" in names["fields"]
    values: Callable[[str], list[str]] = lambda name: client.get(  # noqa: E731
        "/runs/completions.json", {"name": name}
    ).json()["values"]
    assert values("objective") == ["grpo", "reverse_kl"]
    assert values("tag") == ["ablation", "old"]
    assert values("recipe") == ["caopd", "no", "paced"]
    assert values("owner") == ["Alice"]
    client.force_login(charlie)
    assert client.get("/runs/completions.json").json()["keys"] == []
    assert RunValue.objects.exists()


def test_deleted_runs_are_not_offered_to_complete_a_filter(
    client: Client, runs: dict[str, Run]
) -> None:
    def offered(**query: str) -> Any:
        return client.get("/runs/completions.json", query).json()

    rows = Run.objects.filter(pk__in=[run.pk for run in runs.values() if "paced" in run.name])
    figures: dict[str, float] = {"only_here": 1}
    for run in rows:
        run_values.write_figures(run, figures)
    assert "only_here" in offered()["keys"]
    edits.carry_out(deletion.delete(None), rows, None)
    assert "only_here" not in offered()["keys"] and "lr" in offered()["keys"]
    assert offered(name="objective")["values"] == ["grpo"]
    assert "“only_here”" in client.get("/", {"q": "only_here>0"}).context["complaint"]
    edits.carry_out(deletion.undelete(), rows, None)
    assert "only_here" in offered()["keys"]


def test_the_filter_of_the_menus_and_of_the_text_agree(
    client: Client, runs: dict[str, Run]
) -> None:
    assert shown(client, state="completed", q="lr<1e-3") == shown(
        client, q="state:completed lr<1e-3"
    )


def test_values_too_large_for_a_mean_are_left_out_of_it(
    client: Client, runs: dict[str, Run]
) -> None:
    """A run that diverges logs such; the database would refuse the square."""
    for run, loss in zip(runs.values(), (1e308, -1e308, 1e200), strict=False):
        run_values.write_figures(run, {"loss": loss})
    answer = client.get("/", {"group": "objective", "column": ["loss"]})
    assert answer.status_code == 200 and answer.context["groups"]


def test_the_nearest_of_many_long_names_costs_little(client: Client, runs: dict[str, Run]) -> None:
    """Compared with each of them, one unknown name takes many seconds."""
    letters = random.Random(0)
    names = ["".join(letters.choices("abcdefgh/._", k=100)) for _ in range(2000)]
    began = time.process_time()
    sentence = matching._nearest(f"{names[7][:50]}x{names[7][51:]}", names)
    assert sentence == f" Nearest: {names[7]}." and time.process_time() - began < 5


@pytest.mark.parametrize("few", [0, 1, 1000])
def test_a_filter_finds_the_same_runs_however_many_it_leaves(
    client: Client, runs: dict[str, Run], monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    filters = ["loss<0.45", "-loss<0.45", "has:pass_rate", "-has:pass_rate", "two", "-two", "lr!=1"]
    expected = [shown(client, q=text) for text in filters]
    monkeypatch.setattr(matching, "FEW", few)
    assert [shown(client, q=text) for text in filters] == expected
    assert len({len(names) for names in expected}) > 2
