"""The new-job form: the run form's fields for a job, their layout and their help texts.

The fields, their types and the choices under which each one matters come from `trainer.spec.jobs`.
Nothing here rejects anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from trainer.spec import FieldInfo, SpecIssue
from trainer.spec.jobs import JobSpec
from webapp.access.models import Team
from webapp.definition import location_choices
from webapp.definition import run_form as forms
from webapp.definition.fields_from_spec import Setting, settings
from webapp.definition.form_field import FormField, LocationChoices, bind
from webapp.definition.layout import (
    FieldGroup,
    Heading,
    PlacedIssue,
    errors_by_target,
    group_id,
)
from webapp.definition.run_form import FormData

BASICS = "job"
PROMPT = "asked"
HEADINGS = (
    Heading(BASICS, "Job"),
    Heading("work", "Work", "What the job measures or writes."),
    Heading("model", "Model", "The model that answers."),
    Heading("problems", "Problems", "Every one of them is answered."),
    Heading(PROMPT, "Prompt and verifier", "How a question is put and how an answer is judged."),
    Heading(
        "confidence",
        "Stated confidence",
        "Whether answers state their confidence, so that it can be measured.",
    ),
    Heading("sampling", "Sampling", "How answers are sampled."),
    Heading("compute", "Compute", "Devices and batch sizes."),
)
PROMPT_SETTINGS = ("prompt", "verifier", "verifier_seconds")
CONTEXT_HELP = {
    "plain": "It reads the question alone.",
    "privileged": "It reads the solution or the answer beside the question.",
}
MODEL_HELP = {
    "model": "A model of the team, of the hub, or built in.",
    "endpoint": "A model behind an OpenAI-compatible endpoint, which returns texts.",
}
# Help texts that differ from those of a run, because a job has one model and no student; `only`
# are the choices that a job has.
OVERRIDES: dict[str, dict[str, Any]] = {
    "name": {"default": ""},
    "model.kind": {"choices": MODEL_HELP},
    "model.context.kind": {"help": "What the model reads.", "choices": CONTEXT_HELP},
    "model.context.shows": {
        "help": "solution: the worked solution. answer: the short reference answer.",
        "only": ("solution", "answer"),
    },
    "model.context.template": {
        "title": "Prompt",
        "help": "`{question}` stands for the question, `{privileged}` for what is shown beside it.",
    },
}


@dataclass(frozen=True)
class JobLayout:
    """Everything that the new-job page shows of a form."""

    groups: tuple[FieldGroup, ...]
    issues: tuple[PlacedIssue, ...]


def spec_from(form: FormData) -> dict[str, Any]:
    """Return the job that a form describes: only fields that matter for its choices."""
    form = with_default_choices(form)
    spec: dict[str, Any] = {}
    for setting in settings(JobSpec):
        if setting.path in form and forms.applies(setting, setting.path, form):
            forms.put(spec, setting.path, forms.read_field(setting.info, setting.path, form))
    return spec


def form_from(spec: Mapping[str, Any]) -> FormData:
    """Return the form that shows a job.

    Fields that the job omits, or that do not matter for its choices, show their defaults.
    """
    form: FormData = forms.FormData()
    # Two passes: whether a field applies depends on choices that may be written after it.
    for only_applying in (False, True):
        for setting in settings(JobSpec):
            if not only_applying or forms.applies(setting, setting.path, form):
                value = forms.value_at(spec, setting.path, setting.info.default)
                forms.write_field(setting.info, setting.path, value, form)
    return form


def with_default_choices(form: FormData) -> FormData:
    """Return the form with the default of each choice that the browser did not send.

    It sends no choice that does not apply, but the conditions of other fields may name it.
    """
    choices = {
        setting.path: str(setting.info.default)
        for setting in settings(JobSpec)
        if setting.info.type == "choice" and setting.path not in form
    }
    return forms.FormData([*form.lists(), *((path, [value]) for path, value in choices.items())])


def choices_of(team: Team) -> LocationChoices:
    """Return the run form's locations; a data set's mapping has the field names of a job."""
    locations = location_choices.choices_of(team)
    data = tuple(
        replace(
            choice,
            # A job has `verifier` where a run has `data.verifier`.
            mapping={key.removeprefix("data."): value for key, value in choice.mapping.items()},
        )
        for choice in locations.data
    )
    return replace(locations, data=data)


def build_layout(
    form: FormData, issues: Sequence[SpecIssue], locations: LocationChoices
) -> JobLayout:
    """Return the layout of a form with its issues."""
    form = with_default_choices(form)
    fields = [bind(setting.path, setting, form, locations) for setting in job_settings()]
    placed = tuple(_place_issue(issue, fields) for issue in issues)
    errors = errors_by_target(placed)
    fields = [replace(field, error=errors.get(field.id, "")) for field in fields]
    groups = (
        FieldGroup(
            heading,
            tuple(field for field in fields if _group_key(field.name) == heading.key),
            errors.get(group_id(heading.key), ""),
        )
        for heading in HEADINGS
    )
    return JobLayout(tuple(groups), placed)


@cache
def job_settings() -> tuple[Setting, ...]:
    """Return every setting of a job, with the help texts of a job."""
    return tuple(replace(setting, info=_job_info(setting.info)) for setting in settings(JobSpec))


def _job_info(info: FieldInfo) -> FieldInfo:
    overrides = dict(OVERRIDES.get(info.path, {}))
    help_by_choice, only = overrides.pop("choices", {}), overrides.pop("only", None)
    choices = tuple(
        replace(choice, help=help_by_choice.get(choice.value, choice.help))
        for choice in info.choices
        if only is None or choice.value in only
    )
    return replace(info, choices=choices, **overrides)


def _group_key(name: str) -> str:
    """Return the key of a field's heading."""
    section, _, setting = name.partition(".")
    return PROMPT if section in PROMPT_SETTINGS else section if setting else BASICS


def _place_issue(issue: SpecIssue, fields: Iterable[FormField]) -> PlacedIssue:
    """Return the issue beside the field at its path or above it, else beside the group."""
    field_by_name = {field.name: field for field in fields if field.applies}
    path = issue.path
    while path:
        if field := field_by_name.get(path) or field_by_name.get(f"{path}.kind"):
            return PlacedIssue(issue.message, field.id, field.title)
        path = path.rpartition(".")[0]
    key = _group_key(f"{issue.path}.") if issue.path else BASICS
    titles = {heading.key: heading.title for heading in HEADINGS}
    target = group_id(key if key in titles else BASICS)
    return PlacedIssue(issue.message, target, titles.get(key, issue.path))
