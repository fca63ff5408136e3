"""A run definition while somebody writes it: the form, what it says, and everything the page shows
about it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from trainer.spec import RunSpec, SpecError, SpecIssue, load, to_dict, to_yaml
from webapp.access.models import Team
from webapp.definition import checks, layout, location_choices
from webapp.definition import run_form as forms
from webapp.definition.estimate import Outlook, outlook_of
from webapp.definition.layout import Layout
from webapp.definition.run_form import FormData


@dataclass(frozen=True)
class Draft:
    """`spec` is None while the definition itself is not valid; a valid one may still have issues
    with what it names.
    """

    layout: Layout
    spec: RunSpec | None
    notes: tuple[str, ...]
    outlook: Outlook | None

    @property
    def startable(self) -> bool:
        return self.spec is not None and not self.layout.issues

    @property
    def definition(self) -> dict[str, Any]:
        return to_dict(self.spec) if self.spec else {}

    @property
    def yaml(self) -> str:
        return to_yaml(self.spec) if self.spec else ""


def draft_of(form: FormData, team: Team, more: tuple[SpecIssue, ...] = ()) -> Draft:
    """Read a (normalised) form; `more` are issues that were found before it was filled in."""
    offered = location_choices.places_of(team)
    try:
        spec = load(forms.spec_from(form))
    except SpecError as error:
        return Draft(layout.lay_out(form, [*more, *error.issues], offered), None, (), None)
    found = checks.look_around(spec, team)
    return Draft(
        layout.lay_out(form, [*more, *found.issues], offered),
        spec,
        tuple(found.notes),
        outlook_of(spec, found.known),
    )
