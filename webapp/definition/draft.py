"""A run definition that is being written: what its page shows besides the form's own fields."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from trainer.spec import RunSpec, SpecError, SpecIssue, load, to_dict, to_yaml
from webapp.access.models import Team
from webapp.definition import launch_check as launch_checks
from webapp.definition import location_choices, run_checks
from webapp.definition import run_form as forms
from webapp.definition.estimate import RunEstimate, estimate_run
from webapp.definition.launch_check import LaunchCheck
from webapp.definition.layout import PlacedIssue, RunLayout, build_layout
from webapp.definition.run_form import FormData
from webapp.definition.weight_curve import WeightCurve, weight_curve

LaunchChecker = Callable[[RunSpec, Team], LaunchCheck]


@dataclass(frozen=True)
class Draft:
    """A form with the results of its checks.

    `spec` is None while the definition itself is not valid. A valid definition may still have
    issues with what it names. `check` is the preflight of a definition without other issues.
    `curve` is None while the weighting of the problems is not valid.
    """

    layout: RunLayout
    spec: RunSpec | None
    notes: tuple[str, ...]
    check: LaunchCheck | None
    estimate: RunEstimate | None
    curve: WeightCurve | None

    @property
    def startable(self) -> bool:
        return self.spec is not None and not self.layout.issues

    @property
    def warnings(self) -> tuple[PlacedIssue, ...]:
        """What the preflight warns of, each with the element beside which it is shown."""
        found = self.check.of("warning") if self.check else []
        return self.layout.placed([SpecIssue(each.path, each.sentence) for each in found])

    @property
    def definition(self) -> dict[str, Any]:
        return to_dict(self.spec) if self.spec else {}

    @property
    def yaml(self) -> str:
        return to_yaml(self.spec) if self.spec else ""


def draft_of(
    form: FormData,
    team: Team,
    import_issues: tuple[SpecIssue, ...] = (),
    launch_check: LaunchChecker = launch_checks.stored,
) -> Draft:
    """Check a normalised form; `import_issues` come from reading an imported definition.

    `launch_check` gives the preflight of a definition: as it is stored, asked for or awaited.
    """
    locations = location_choices.choices_of(team)
    definition = forms.spec_from(form)
    curve = weight_curve(definition)
    try:
        spec = load(definition)
    except SpecError as error:
        issues = [*import_issues, *error.issues]
        return Draft(build_layout(form, issues, locations), None, (), None, None, curve)
    report = run_checks.validate_references(spec, team)
    issues = [*import_issues, *report.issues]
    # A worker would only find the same again.
    check = None if issues else launch_check(spec, team)
    return Draft(
        build_layout(form, [*issues, *(check.issues if check else [])], locations),
        spec,
        tuple(report.notes),
        check,
        estimate_run(spec, report.facts),
        curve,
    )
