"""The form and the run definition hold the same settings, and any input is handled."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from django.http import QueryDict
from django.utils.datastructures import MultiValueDict
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.spec.reader import issues_in, load, to_dict
from webapp.definition import layout
from webapp.definition import run_form as forms
from webapp.definition.form_field import LocationChoices

ALICE_RUN: dict[str, Any] = {
    "name": "Alice's run",
    "seed": 7,
    "networks": {
        "student": {
            "model": "file:/models/small",
            "random_init": True,
            "adapter": {"kind": "lora", "layers": ["q_proj", "up_proj"]},
        },
        "teacher": {"model": "hub:org/large@main"},
        "specialists": [
            {"domains": ["algebra", "geometry"], "teacher": {"model": "hub:org/sums@main"}}
        ],
    },
    "data": {
        "train": {
            "kind": "file",
            "path": "dataset:gsm8k@abc",
            "columns": {"question": "q", "answer": "a", "id": "n", "domain": "d"},
            "limit": 500,
        },
        "evaluation": {"kind": "split", "share": 0.2},
        "retained": {"kind": "arithmetic", "families": ["mul", "word"], "levels": [2], "count": 30},
        "prompt": "Think.\n{question}\n",
        "verifier": {"kind": "choice", "choices": "ABC"},
    },
    "pool": {
        "weighting": {"kind": "hard_filter", "low": 0.2, "high": 0.6},
        "rollouts_per_problem": 5,
        "measure_snr": True,
    },
    "stages": [
        {
            "name": "warm",
            "source": "teacher_written",
            "objective": {"kind": "forward_kl", "temperature": 0.5},
            "until": {"steps": 11},
        },
        {"name": "polish", "optimiser": {"learning_rate": 1e-05}},
    ],
    "evaluation": {"problems": 64, "pass_at": [1, 2]},
}


def as_posted(form: MultiValueDict[str, str]) -> QueryDict:
    """Return the form as a browser posts it."""
    query = QueryDict(mutable=True)
    for key, values in form.lists():
        query.setlist(key, values)
    return QueryDict(query.urlencode())


def through_the_form(spec: dict[str, Any]) -> dict[str, Any]:
    return forms.spec_from(forms.normalised(as_posted(forms.form_from(spec))))


def all_items(page: layout.RunLayout) -> list[layout.FieldGroup]:
    return [item for listing in page.lists.values() for item in listing.items]


def test_a_definition_survives_the_form() -> None:
    assert to_dict(load(through_the_form(ALICE_RUN))) == to_dict(load(ALICE_RUN))


def test_settings_that_a_definition_omits_show_their_defaults() -> None:
    spec = {"stages": [{"name": "only"}]}
    assert to_dict(load(through_the_form(spec))) == to_dict(load(spec))


def test_two_fields_with_one_name_never_apply_together() -> None:
    conditions_by_name: dict[str, list[dict[str, tuple[str, ...]]]] = {}
    for name, setting in forms.field_names({"stages": 1, "networks.specialists": 1}):
        conditions_by_name.setdefault(name, []).append(forms.conditions(setting, name))
    for name, alternatives in conditions_by_name.items():
        for first, second in itertools.combinations(alternatives, 2):
            assert any(
                not set(first[path]) & set(second[path]) for path in first.keys() & second.keys()
            ), name


@pytest.mark.parametrize(
    "teacher",
    [
        {
            "kind": "self",
            "weights": "ema",
            "ema_rate": 0.01,
            "context": {"kind": "privileged", "shows": "answer", "most_tokens": 7},
        },
        {"kind": "texts", "path": "file:/srv/answers.jsonl", "question": "q"},
        {
            "kind": "endpoint",
            "url": "https://models.example/v1",
            "model": "hub:a-strange-name",
            "key": "secret:models",
        },
    ],
)
def test_every_kind_of_teacher_survives_the_form(teacher: dict[str, Any]) -> None:
    stage = {"name": "only", "source": "teacher_written", "objective": {"kind": "cross_entropy"}}
    pool = {**ALICE_RUN["pool"], "measure_snr": False}
    spec = {
        **ALICE_RUN,
        "version": 2,
        "networks": {"teacher": teacher},
        "stages": [stage],
        "pool": pool,
    }
    assert to_dict(load(through_the_form(spec))) == to_dict(load(spec))


def test_a_field_of_several_alternatives_keeps_the_value_of_the_chosen_one() -> None:
    objective = {
        "kind": "jsd",
        "beta": 0.3,
        "temperature": 2.0,
        "clip": {"kind": "clip", "limit": 0.2},
    }
    spec = {"stages": [{"name": "only", "objective": objective}]}
    assert to_dict(load(through_the_form(spec))) == to_dict(load(spec))


def test_a_setting_that_another_one_makes_unused_is_not_sent() -> None:
    form = forms.form_from(
        {"stages": [{"name": "only", "rollouts": {"generate": {"per_problem": 4}}}]}
    )
    form["stages.0.source"] = "solutions"
    assert "per_problem" not in forms.spec_from(form)["stages"][0]["rollouts"]["generate"]


def test_an_expert_setting_that_is_not_at_its_default_is_shown() -> None:
    def is_expert(spec: dict[str, Any]) -> bool:
        fields = (
            layout.build_layout(forms.form_from(spec), [], LocationChoices()).groups["pool"].fields
        )
        return next(field for field in fields if field.name == "pool.weighting.floor").expert

    assert is_expert({})
    assert not is_expert({"pool": {"weighting": {"kind": "paced", "floor": 0.1}}})


def test_only_fields_that_apply_are_sent() -> None:
    form = forms.form_from(ALICE_RUN)
    form["pool.weighting.kind"], form["pool.weighting.alpha"] = "uniform", "3"
    form["data.retained.kind"] = ""
    spec = forms.spec_from(form)
    assert spec["pool"]["weighting"] == {"kind": "uniform"}
    assert spec["data"]["retained"] is None


def test_fields_of_different_alternatives_have_different_ids() -> None:
    page = layout.build_layout(forms.form_from(ALICE_RUN), [], LocationChoices())
    ids = [
        field.id for group in (*page.groups.values(), *all_items(page)) for field in group.fields
    ]
    assert len(ids) == len(set(ids))


def test_stages_are_sorted_by_number_even_with_gaps() -> None:
    query = QueryDict("stages.7.name=last&stages.2.name=first&stages.2.until.steps=9")
    assert forms.spec_from(forms.normalised(query))["stages"] == [
        {"name": "first", "until": {"steps": 9}},
        {"name": "last"},
    ]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("pool.weighting.alpha", "-1", "Must not be negative"),
        ("pool.weighting.beta", "-0.5", "Must not be negative"),
        ("pool.rollouts_per_problem", "0", "Must be at least 1"),
        ("pool.rollouts_per_problem", "many", "Must be a whole number"),
        ("pool.rollouts_per_problem", "", "Must be a whole number"),
        ("pool.weighting.alpha", "nan", "Must be a number"),
        ("stages.0.name", "Not A Name", "Must be 1 to 32"),
        ("networks.student.model", "ftp://somewhere", "Must be a location"),
        ("data.train.levels", "1, two", "Must be a whole number"),
        ("seed", "9" * 5000, "Must be a whole number"),
    ],
)
def test_an_invalid_value_is_reported_beside_its_field(name: str, value: str, message: str) -> None:
    form = forms.form_from({"stages": [{"name": "only"}]})
    form[name] = value
    page = layout.build_layout(form, issues_in(forms.spec_from(form)), LocationChoices())
    field = next(
        field
        for group in (*page.groups.values(), *all_items(page))
        for field in group.fields
        if field.name == name and field.applies
    )
    assert message in field.error
    assert field.value == value
    assert [issue.target for issue in page.issues] == [field.id]


def test_a_problem_of_a_choice_is_shown_beside_the_choice() -> None:
    form = forms.form_from({"stages": [{"name": "only"}]})
    form["pool.weighting.kind"], form["pool.weighting.low"], form["pool.weighting.high"] = (
        "hard_filter",
        "0.9",
        "0.1",
    )
    page = layout.build_layout(form, issues_in(forms.spec_from(form)), LocationChoices())
    assert [issue.target for issue in page.issues][:1] == ["field-pool-weighting-kind"]


def test_a_form_without_stages_shows_the_error_at_the_stages() -> None:
    form = forms.normalised(QueryDict("name=nothing"))
    page = layout.build_layout(form, issues_in(forms.spec_from(form)), LocationChoices())
    assert page.stages.error


NAMES = [name for name, _ in forms.field_names({"stages": 2, "networks.specialists": 1})] + [
    "stages.9999.name",
    "stages.0",
    "stages..name",
    "__class__",
    "stages.0.name.rest",
    "pool",
]
VALUES = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        ["", "on", "hub:", "file:", "../../etc", "$(id)", "NaN", "-1", "1e400", "{question}"]
    ),
)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(NAMES), VALUES), max_size=25))
def test_any_input_is_treated_as_data_and_checked(
    pairs: list[tuple[str, str]],
) -> None:
    query = QueryDict(mutable=True)
    for name, value in pairs:
        query.appendlist(name, value)
    form = forms.normalised(query)
    spec = forms.spec_from(form)
    issues = issues_in(spec)
    page = layout.build_layout(form, issues, LocationChoices())
    assert len(page.issues) == len(issues)
    if not issues:
        assert to_dict(load(through_the_form(to_dict(load(spec))))) == to_dict(load(spec))


@settings(max_examples=40, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3),
    ),
    st.sampled_from(NAMES),
)
def test_a_definition_of_any_shape_can_be_shown(value: Any, name: str) -> None:
    spec: dict[str, Any] = {name.split(".")[0]: value}
    assert isinstance(forms.spec_from(forms.form_from(spec)), dict)
