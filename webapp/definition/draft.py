"""A run definition that is being written: what its page shows besides the form's own fields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from trainer.spec import RunSpec, SpecError, SpecIssue, load, to_dict, to_yaml
from webapp.access.models import Team
from webapp.definition import location_choices, run_checks
from webapp.definition import run_form as forms
from webapp.definition.estimate import RunEstimate, estimate_run
from webapp.definition.layout import RunLayout, build_layout
from webapp.definition.run_form import FormData
from webapp.definition.weight_curve import WeightCurve, weight_curve


@dataclass(frozen=True)
class Draft:
    """A form with the results of its checks.

    `spec` is None while the definition itself is not valid. A valid definition may still have
    issues with what it names. `curve` is None while the weighting of the problems is not valid.
    """

    layout: RunLayout
    spec: RunSpec | None
    notes: tuple[str, ...]
    estimate: RunEstimate | None
    curve: WeightCurve | None

    @property
    def startable(self) -> bool:
        return self.spec is not None and not self.layout.issues

    @property
    def definition(self) -> dict[str, Any]:
        return to_dict(self.spec) if self.spec else {}

    @property
    def yaml(self) -> str:
        return to_yaml(self.spec) if self.spec else ""


def draft_of(form: FormData, team: Team, import_issues: tuple[SpecIssue, ...] = ()) -> Draft:
    """Check a normalised form; `import_issues` come from reading an imported definition."""
    locations = location_choices.choices_of(team)
    definition = forms.spec_from(form)
    curve = weight_curve(definition)
    try:
        spec = load(definition)
    except SpecError as error:
        issues = [*import_issues, *error.issues]
        return Draft(build_layout(form, issues, locations), None, (), None, curve)
    report = run_checks.validate_references(spec, team)
    return Draft(
        build_layout(form, [*import_issues, *report.issues], locations),
        spec,
        tuple(report.notes),
        estimate_run(spec, report.facts),
        curve,
    )
