"""The list of settings that the form and the docs are made from."""

from __future__ import annotations

from typing import Any

import pytest

from trainer.spec import FieldInfo, fields, load, to_dict
from trainer.spec.base import Section, option
from trainer.spec.fields.field_list import Heading
from trainer.spec.jobs import JobSpec
from trainer.spec.shapers import Shapers

ALL = {(info.path, info.when): info for info in fields()}


def only(path: str) -> FieldInfo:
    (matches,) = [info for info in fields() if info.path == path]
    return matches


def leaves(value: Any, path: str = "") -> set[str]:
    if isinstance(value, dict):
        return {
            leaf
            for key, inner in value.items()
            for leaf in leaves(inner, f"{path}.{key}" if path else key)
        }
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return {leaf for inner in value for leaf in leaves(inner, f"{path}.*")}
    return {path}


def test_every_setting_of_a_definition_is_listed() -> None:
    listed = {info.path for info in fields()}
    alternatives: list[dict[str, Any]] = [
        {},
        {"pool": {"weighting": {"kind": "hard_filter"}}, "data": {"verifier": {"kind": "choice"}}},
        {
            "data": {
                "train": {"kind": "file", "path": "file:a.csv"},
                "retained": {"kind": "arithmetic"},
                "verifier": {"kind": "exact"},
            }
        },
    ]
    shapers = {f"stages.*.shapers.{kind}" for kind in Shapers.model_fields}
    for settings in alternatives:
        paths = leaves(to_dict(load({"stages": [{"name": "a"}], **settings})))
        assert paths - listed <= {"data.retained", "networks.specialists"} | shapers, (
            "only absent sections have no line of their own"
        )


def test_no_setting_is_listed_twice() -> None:
    assert len(ALL) == len(fields())


def test_every_setting_has_title_and_help() -> None:
    for info in fields():
        assert info.title, info.path
        assert info.help or info.path.endswith(".kind"), info.path
        assert all(choice.value for choice in info.choices)
        assert bool(info.choices) == (info.type in ("choice", "choices")), info.path


def test_a_number_has_its_bounds_unit_and_paper() -> None:
    alpha = only("pool.weighting.alpha")
    assert (alpha.type, alpha.default, alpha.bounds, alpha.paper) == (
        "number",
        1.0,
        {"ge": 0, "le": 16},
        "PACED, arXiv 2603.11178",
    )
    assert alpha.when == (("pool.weighting.kind", "paced"),)
    assert only("stages.*.until.steps").unit == "steps"


def test_a_choice_between_sections_is_a_setting_with_help_for_each_alternative() -> None:
    kind = only("pool.weighting.kind")
    help_by_kind = {choice.value: choice.help for choice in kind.choices}
    assert {"hard_filter", "paced", "uniform"} <= set(help_by_kind)
    assert kind.default == "paced"
    assert help_by_kind["paced"].startswith("w(p) = p^α (1 − p)^β")


def test_lists_have_the_bounds_of_their_items() -> None:
    levels = only("evaluation.pass_at")
    assert (levels.type, levels.default, levels.bounds) == ("integers", [1, 4], {"ge": 1})


def test_defaults_are_those_of_the_field_that_holds_a_section() -> None:
    assert only("networks.student.model").default == "builtin:student"
    models = {info.when: info.default for info in fields() if info.path == "networks.teacher.model"}
    assert models[(("networks.teacher.kind", "model"),)] == "builtin:teacher"


def test_a_setting_without_a_default_is_required() -> None:
    assert only("stages.*.name").required
    assert not only("name").required


def test_an_optional_section_is_a_choice_that_may_be_empty() -> None:
    retained = only("data.retained.kind")
    assert (retained.optional, retained.default) == (True, None)


def test_settings_inside_an_expert_section_are_for_experts() -> None:
    assert only("stages.*.rollouts.filter.kind").expert
    assert not only("pool.rollouts_per_problem").expert


def test_the_listed_defaults_are_valid() -> None:
    for info in fields():
        if info.type in ("integer", "number") and info.default is not None:
            assert (
                info.bounds.get("ge", info.default)
                <= info.default
                <= info.bounds.get("le", info.default)
            ), info.path


def test_a_setting_has_the_conditions_of_the_settings_it_depends_on() -> None:
    assert only("pool.refresh_every").conditions == (
        ("pool.estimate", ("before",)),
        ("pool.refresh", ("every",)),
    )
    assert only("pool.rollouts_per_problem").conditions == ()


def test_a_condition_of_a_section_is_one_of_its_settings_too() -> None:
    for setting in ("kind", "target"):
        info = only(f"stages.*.rollouts.filter.{setting}")
        assert info.conditions == (("stages.*.source", ("student_rollouts",)),)


def test_a_condition_on_an_unknown_setting_is_an_error() -> None:
    class Misspelt(Section):
        depends: int = option(1, title="Depends", help="", when={"sauce": ("all",)})

    with pytest.raises(LookupError, match="sauce"):
        fields(Misspelt)


def test_the_type_of_a_setting_says_that_it_is_a_location() -> None:
    locations = {(info.path, info.location) for info in (*fields(), *fields(JobSpec))}
    assert {pair for pair in locations if pair[1]} == {
        ("networks.student.model", "model"),
        ("networks.teacher.model", "model"),
        ("networks.specialists.*.teacher.model", "model"),
        ("networks.teacher.path", "data"),
        ("networks.teacher.url", "endpoint"),
        *(
            (f"{teacher}.{setting}", location)
            for teacher in ("networks.teacher", "networks.specialists.*.teacher", "model")
            for setting, location in (
                ("urls", "endpoint"),
                ("tokenizer", "model"),
                ("gives.head", "model"),
                ("check.model", "model"),
            )
        ),
        ("data.train.path", "data"),
        ("data.evaluation.path", "data"),
        ("data.retained.path", "data"),
        ("model.model", "model"),
        ("model.url", "endpoint"),
        ("problems.path", "data"),
    }
    # The name of a model at an endpoint is no location, though its path is that of one.
    assert ("networks.teacher.model", "") in locations


def test_a_setting_is_under_the_nearest_heading() -> None:
    assert only("seed").heading is None
    pool = only("pool.sampling.top_p")
    assert (pool.heading, pool.subheading) == (only("pool.estimate").heading, "Sampling")
    shared = Heading(
        "data", *("Prompt and verifier", "How a question is put and how an answer is judged.")
    )
    assert only("data.prompt").heading == only("data.verifier.kind").heading == shared
