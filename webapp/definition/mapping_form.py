"""The form that says what the columns of a file mean: the same fields, names and help as in the
new-run form.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.http import QueryDict

from trainer.spec import SpecIssue
from trainer.text.problems import Inspection
from webapp.definition import layout
from webapp.definition import run_form as forms
from webapp.definition.form_fields import FormField, Places, bind
from webapp.definition.run_form import FormData

COLUMNS = "data.train.columns."
VERIFIER = "data.verifier."
PREFIXES = (COLUMNS, VERIFIER)
UPLOAD: Mapping[str, str] = {"data.train.kind": "file", "data.train.path": "file:upload"}


@dataclass(frozen=True)
class ColumnField:
    """The choice of one column; an optional one may be none."""

    field: FormField
    options: tuple[str, ...]


def definition_in(sent: QueryDict) -> dict[str, Any]:
    """The part of a run definition that the form speaks of."""
    form = forms.normalised(sent)
    for name, value in UPLOAD.items():
        form[name] = value
    return forms.spec_from(form)


def form_for(found: Inspection, sent: QueryDict) -> FormData:
    """What was sent, or the guess from the names of the columns."""
    guessed = {role: column for role, column in found.guess.items() if column}
    form = forms.form_from(
        {"data": {"train": {"kind": "file", "path": "file:upload", "columns": guessed}}}
    )
    for name, values in sent.lists():
        if name.startswith(PREFIXES):
            form.setlist(name, values)
    return form


def column_fields(
    form: FormData, found: Inspection, issues: Sequence[SpecIssue]
) -> list[ColumnField]:
    return [ColumnField(field, found.columns) for field in _fields(form, COLUMNS, issues)]


def verifier_fields(form: FormData, issues: Sequence[SpecIssue]) -> list[FormField]:
    return _fields(form, VERIFIER, issues)


def _fields(form: FormData, prefix: str, issues: Sequence[SpecIssue]) -> list[FormField]:
    bound = [
        bind(name, setting, form, Places())
        for name, setting in forms.names({})
        if name.startswith(prefix)
    ]
    said = {issue.target: issue.sentence for issue in layout.place(issues, bound)}
    return [replace(field, problem=said.get(field.id, "")) for field in bound]
