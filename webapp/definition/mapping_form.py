"""The form that maps the columns of a file, with the same fields and help as the new-run form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.http import QueryDict

from trainer.spec import SpecIssue
from trainer.spec.verifiers.number_format import NumberFormat
from trainer.text.problems import Inspection
from trainer.text.verifiers.number_formats import guess_number_format
from webapp.definition import layout
from webapp.definition import run_form as forms
from webapp.definition.form_field import FormField, LocationChoices, bind
from webapp.definition.run_form import FormData

COLUMNS = "data.train.columns."
VERIFIER = "data.verifier."
PREFIXES = (COLUMNS, VERIFIER)
# Verifiers with the settings of `NumberFormat`.
READS_NUMBERS = ("numeric", "math")
# The file is uploaded already; its location only has to be a valid one for the definition.
UPLOAD: Mapping[str, str] = {"data.train.kind": "file", "data.train.path": "file:upload"}


@dataclass(frozen=True)
class ColumnField:
    """The choice of one column or value inside it; an optional one may be none.

    A template, or an address that is not among the options, is written by hand. `options` is empty
    for a setting that names no column.
    """

    field: FormField
    options: tuple[str, ...]

    @property
    def is_open(self) -> bool:
        return bool(self.field.value) and self.field.value not in self.options

    @property
    def text(self) -> str:
        return self.field.value if self.is_open else ""


def definition_in(query: QueryDict) -> dict[str, Any]:
    """Return the part of a run definition that the form describes."""
    form = forms.normalised(query)
    # Not `form.update`, which would add the values to those that were sent.
    for name, value in UPLOAD.items():
        form[name] = value
    return forms.spec_from(form)


def form_for(
    inspection: Inspection, query: QueryDict, number_format: NumberFormat | None = None
) -> FormData:
    """Return the values sent, or the guesses from the names and first values of the columns."""
    guess = {role: column for role, column in inspection.guess.items() if column}
    train = {"kind": "file", "path": "file:upload", "columns": guess}
    kind = inspection.shape.verifier or "numeric"
    read_as = (number_format or NumberFormat()).model_dump() if kind in READS_NUMBERS else {}
    form = forms.form_from({"data": {"train": train, "verifier": {"kind": kind, **read_as}}})
    for name, values in query.lists():
        if name.startswith(PREFIXES):
            form.setlist(name, values)
    return form


def column_fields(
    form: FormData, inspection: Inspection, issues: Sequence[SpecIssue]
) -> list[ColumnField]:
    fields = _fields(form, COLUMNS, issues)
    return [
        ColumnField(field, inspection.addresses if field.info.type == "text" else ())
        for field in fields
    ]


def format_hint(verifier: Any, references: Sequence[str]) -> str:
    """Return a sentence if references look written in another format of numbers, else ""."""
    if not isinstance(verifier, NumberFormat):
        return ""
    guess = guess_number_format(references)
    if guess.decimal_comma and not verifier.decimal_comma:
        return "These references seem to have a decimal comma: check “Decimal comma”."
    if guess.spaced_thousands and not verifier.spaced_thousands:
        return "These references seem to have spaces between thousands: check that setting."
    return ""


def verifier_fields(form: FormData, issues: Sequence[SpecIssue]) -> list[FormField]:
    return _fields(form, VERIFIER, issues)


def _fields(form: FormData, prefix: str, issues: Sequence[SpecIssue]) -> list[FormField]:
    fields = [
        bind(name, setting, form, LocationChoices())
        for name, setting in forms.field_names({})
        if name.startswith(prefix)
    ]
    errors = layout.errors_by_target(layout.place_issues(issues, fields))
    return [replace(field, error=errors.get(field.id, "")) for field in fields]
