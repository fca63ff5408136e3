"""Which runs are one group, and how choices are read from an address."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.webapp.compared import definition
from webapp.access.models import Team
from webapp.comparisons import choices as choices_of
from webapp.comparisons.choices import Choices
from webapp.comparisons.groups import grouped
from webapp.comparisons.interest import interest_of
from webapp.comparisons.run_settings import RunSettings, setting_rows, settings_of
from webapp.runs.models import Run


def run(name: str, spec: dict[str, Any] | None = None, **parameters: Any) -> RunSettings:
    recipe = "" if spec is None else "paced"
    return settings_of(Run(public_id=name, spec=spec, recipe=recipe), parameters)


def ids(groups: list[Any]) -> list[list[str]]:
    return [[settings.run for settings in group.runs] for group in groups]


def test_runs_that_differ_only_by_what_does_not_count_are_one_group() -> None:
    first = definition(1)
    second = definition(2) | {
        "name": "another",
        "compute": {"threads": 2},
        "checkpoints": {"every": 7},
        "evaluation": {},
    }
    second["data"]["train"]["seed"] = 2
    other = definition(1, alpha=2.0)
    groups = grouped([run("a", first), run("b", second), run("c", other)])
    assert ids(groups) == [["a", "b"], ["c"]]
    assert groups[0].seeds == (1, 2)
    ignored = groups[0].ignored
    assert {"seed", "name", "data.train.seed", "compute.threads", "checkpoints.every"} == set(
        ignored
    )
    assert ignored["seed"] == ("1", "2") and groups[1].ignored == {}


def test_a_default_that_is_written_out_does_not_tell_runs_apart() -> None:
    written = definition()
    written["pool"]["weighting"]["beta"] = 1.0
    short = definition()
    del short["pool"]["weighting"]["beta"]
    assert ids(grouped([run("a", written), run("b", short)])) == [["a", "b"]]


def with_student(seed: int, model: str) -> dict[str, Any]:
    return definition(seed, networks={**definition()["networks"], "student": {"model": model}})


@pytest.mark.parametrize(
    ("first", "second", "is_one_group"),
    [
        ("model:base-1@aaaa", "model:base-2@bbbb", True),
        ("model:base-seed-1@aaaa", "model:base-seed-2@bbbb", True),
        ("file:/bases/base-1", "file:/bases/base-2", True),
        ("model:base-1@aaaa", "model:other-2@bbbb", False),
        # Of another seed than its run's, so that it is a setting.
        ("model:base-3@aaaa", "model:base-4@bbbb", False),
        ("model:base@aaaa", "model:base@bbbb", False),
    ],
)
def test_a_base_made_for_the_seed_counts_by_its_name(
    first: str, second: str, is_one_group: bool
) -> None:
    groups = grouped([run("a", with_student(1, first)), run("b", with_student(2, second))])
    assert (len(groups) == 1) == is_one_group


def test_runs_of_clients_are_grouped_by_their_parameters_without_seeds_and_devices() -> None:
    groups = grouped(
        [
            run("a", seed=1, lr=1e-4, training={"device": "cpu"}, output_dir="/x"),
            run("b", seed=2, lr=1e-4, training={"device": "cuda:0"}, output_dir="/y"),
            run("c", seed=1, lr=1e-3),
            # Nothing is known of these, so that nothing makes them repetitions.
            run("d"),
            run("e"),
        ]
    )
    assert ids(groups) == [["a", "b"], ["c"], ["d"], ["e"]]
    assert groups[0].seeds == (1, 2)


def test_a_definition_that_cannot_be_read_is_compared_as_it_is_stored() -> None:
    strange = {"seed": 0, "of_a_later_version": {"a": [1, 2]}}
    settings = run("a", strange)
    assert settings.seed == 0 and settings.settings["of_a_later_version.a"] == "1, 2"


def test_people_can_split_and_merge_groups() -> None:
    runs = [run(name, definition(seed)) for seed, name in enumerate("abc")]
    runs.append(run("d", definition(0, alpha=2.0)))
    assert ids(grouped(runs, split=("b",))) == [["a", "c"], ["b"], ["d"]]
    assert ids(grouped(runs, merge=[("a", "d")])) == [["a", "b", "c", "d"]]
    assert ids(grouped(runs, split=("b",), merge=[("d", "b")])) == [["a", "c"], ["b", "d"]]
    assert ids(grouped(runs, split=("x",), merge=[("a", "x")])) == [["a", "b", "c"], ["d"]]


@given(st.permutations(range(6)))
def test_a_group_does_not_depend_on_what_else_is_shown(order: list[int]) -> None:
    runs = [run(str(i), None, lr=i % 2, seed=i) for i in range(6)]
    all_groups = {frozenset(group) for group in ids(grouped([runs[i] for i in order]))}
    assert all_groups == {frozenset("024"), frozenset("135")}
    assert ids(grouped(runs[::2])) == [["0", "2", "4"]]


def test_settings_have_a_row_each_with_the_values_of_every_column() -> None:
    rows = setting_rows(
        [[run("a", None, lr=1, seed=1), run("b", None, lr=1, seed=2)], [run("c", None, lr=2)]]
    )
    by_path = {row.path: (row.values, row.differs) for row in rows}
    assert by_path == {"lr": (("1", "2"), True), "seed": (("1, 2", "not set"), True)}


def test_choices_are_read_as_they_were_stored() -> None:
    choices = Choices(
        *("a", "loss", "0.05", "runs", ("a", "b"), (("a", "c"),), "tokens", ("x,y", "z"), "both"),
        smoothing="0.6",
        zoom="10:2e3",
        hidden=("a", "b/mean"),
        against="lr",
        coordinates=("setting:lr", "result:a,b"),
        ranges=("0.1:0.5:setting:lr",),
        all_settings=True,
    )
    assert choices_of.read(choices.stored()) == choices
    assert choices_of.read({}) == Choices() and Choices().stored() == {}


@pytest.mark.parametrize(
    "text", ["", "x", "1", "1:", ":1", "2:1", "1:1", "nan:1", "0:inf", "1:2:3"]
)
def test_a_zoom_that_is_no_range_is_none(text: str) -> None:
    assert choices_of.read({"zoom": text, "smoothing": "0.7"}) == Choices()


@pytest.mark.parametrize("text", ["", "x", "-1", "0", "nan", "inf", "1e999"])
def test_an_interest_that_is_no_number_above_0_is_the_usual_one(text: str) -> None:
    choices = choices_of.read({"delta": text})
    still = Team(name="Still")
    interest = interest_of(choices, None, still)
    assert interest.value == 0.02 and interest.source == "the usual one"
    # What was typed is answered, and nothing typed is not.
    assert bool(interest.problem) == bool(text)
    assert interest_of(choices, None, Team(name="Still", interest=0.1)).value == 0.1


@given(st.dictionaries(st.sampled_from(sorted(Choices("b", "m", "1").stored())), st.text()))
def test_any_text_makes_choices(values: dict[str, str]) -> None:
    assert "\0" not in choices_of.read(values).query()
