"""What the forms know about a field is declared in `trainer.spec`, not listed in the forms."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import webapp.definition
from trainer.spec import RunSpec, SpecIssue
from trainer.spec.base import Section
from trainer.spec.fields.field_list import fields
from trainer.spec.jobs import JobSpec
from webapp.definition import job_form, layout
from webapp.definition import run_form as forms
from webapp.definition.form_field import FormField, LocationChoices

MODULES = sorted(Path(webapp.definition.__path__[0]).glob("*.py"))
NAMED_PATHS = {
    # The curve w(p) is drawn from these two choices.
    "layout.py": {"pool.estimate", "pool.weighting.kind"},
    # The page maps the columns of one file, which it puts in the place of the training problems.
    "mapping_form.py": {"data.train.kind", "data.train.path"},
    # A check of a value names the field beside which its refusal is shown.
    "problem_comparison.py": {"data.evaluation.share"},
    "job_checks.py": {
        "model.checkpoint",
        "model.key",
        "model.model",
        "model.url",
        "problems.path",
        "sampling.max_new_tokens",
    },
}


def fields_of_a_run() -> Iterator[FormField]:
    form = forms.form_from(
        {
            "networks": {"specialists": [{"domains": ["a"], "teacher": {"model": "hub:a/b@c"}}]},
            "stages": [{"name": "only"}],
        }
    )
    page = layout.build_layout(form, [], LocationChoices())
    for group in (*page.groups.values(), *(items.items[0] for items in page.lists.values())):
        yield from (field for subgroup in group.subgroups for field in subgroup.fields)


def fields_of_a_job() -> Iterator[FormField]:
    page = job_form.build_layout(job_form.form_from({}), [], LocationChoices())
    for group in page.groups:
        yield from (field for subgroup in group.subgroups for field in subgroup.fields)


@pytest.mark.parametrize(
    ("root", "form_fields"),
    [(RunSpec, list(fields_of_a_run())), (JobSpec, list(fields_of_a_job()))],
    ids=["run", "job"],
)
def test_every_field_of_a_definition_is_in_one_group_of_its_form(
    root: type[Section], form_fields: list[FormField]
) -> None:
    for info in fields(root):
        name = info.path.replace("*", "0")
        when = {path.replace("*", "0"): value for path, value in info.when}
        matches = [
            field
            for field in form_fields
            if field.name == name
            and all(value in field.conditions[path] for path, value in when.items())
        ]
        assert len(matches) == 1, (name, when)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)
def test_no_module_of_the_forms_names_the_path_of_a_field(module: Path) -> None:
    # Names of one word, such as "name", are also words of other things.
    paths = {info.path for root in (RunSpec, JobSpec) for info in fields(root) if "." in info.path}
    texts = {
        node.value.replace("\\", "")
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert texts & paths == NAMED_PATHS.get(module.name, set()), (
        "declare it at the field, with a keyword of `option` in trainer/spec/base.py"
    )


def test_a_job_keeps_its_headings_in_order() -> None:
    page = job_form.build_layout(job_form.form_from({}), [], LocationChoices())
    assert [group.heading.title for group in page.groups] == [
        "Job",
        "Work",
        "Model",
        "Problems",
        "Prompt and verifier",
        "Stated confidence",
        "Sampling",
        "Compute",
    ]


def test_a_choice_that_decides_its_group_is_shown_without_a_second_help() -> None:
    assert {field.name for field in fields_of_a_run() if field.is_group_kind} == {
        "networks.teacher.kind",
        "data.train.kind",
        "data.evaluation.kind",
        "data.retained.kind",
        "data.confidence.kind",
    }
    assert {field.name for field in fields_of_a_job() if field.is_group_kind} == {
        "work.kind",
        "model.kind",
        "problems.kind",
        "confidence.kind",
    }


def test_the_note_on_endpoints_is_beside_their_urls() -> None:
    locations = LocationChoices(endpoint_note="Listed endpoints only.")
    page = job_form.build_layout(job_form.form_from({}), [], locations)
    noted = [field.name for group in page.groups for field in group.fields if field.note]
    assert noted == ["model.url", "model.urls"]


def test_a_recipe_stays_for_experts_whatever_its_value() -> None:
    form = forms.form_from({"recipe": "opsd", "stages": [{"name": "only"}]})
    basics = layout.build_layout(form, [], LocationChoices()).basics
    assert next(field for field in basics.fields if field.name == "recipe").expert


@pytest.mark.parametrize(
    ("estimate", "weighting", "is_drawn"),
    [
        ("before", "paced", True),
        ("before", "hard_filter", True),
        ("before", "uniform", False),
        ("never", "paced", False),
    ],
)
def test_the_curve_is_drawn_if_problems_count_by_their_pass_rates(
    estimate: str, weighting: str, is_drawn: bool
) -> None:
    pool = {"estimate": estimate, "weighting": {"kind": weighting}}
    form = forms.form_from({"pool": pool, "stages": [{"name": "only"}]})
    assert layout.build_layout(form, [], LocationChoices()).has_curve == is_drawn


def test_an_issue_with_a_section_is_shown_at_its_group() -> None:
    form = forms.form_from({"stages": [{"name": "only"}]})
    issues = [
        SpecIssue(path, "is wrong") for path in ("pool", "data", "stages.0.until", "networks")
    ]
    page = layout.build_layout(form, issues, LocationChoices())
    assert [issue.target for issue in page.issues] == [
        page.pool.id,
        page.groups["data.prompt"].id,
        "group-stages-0",
        page.basics.id,
    ]
