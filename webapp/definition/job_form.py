"""The new-job form: the run form's fields for a job, and their layout.

The fields, and all that the page says about them, come from `trainer.spec.jobs`.
Nothing here rejects anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from trainer.spec import SpecIssue
from trainer.spec.fields.field_list import Heading
from trainer.spec.jobs import JobSpec
from webapp.access.models import Team
from webapp.definition import location_choices
from webapp.definition import run_form as forms
from webapp.definition.fields_from_spec import settings
from webapp.definition.form_field import LocationChoices, bind
from webapp.definition.layout import (
    FieldGroup,
    PlacedIssue,
    errors_by_target,
    field_groups,
    place_issues,
)
from webapp.definition.run_form import FormData

# The group of the settings under no heading of the definition.
BASICS = Heading("job", "Job")


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
    fields = [bind(setting.path, setting, form, locations) for setting in settings(JobSpec)]
    placed = place_issues(issues, fields, BASICS)
    errors = errors_by_target(placed)
    fields = [replace(field, error=errors.get(field.id, "")) for field in fields]
    return JobLayout(field_groups(fields, errors, BASICS), placed)
