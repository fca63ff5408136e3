"""The part of the new-run form that repeats a run over seeds and varies its settings."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from trainer.spec import RunSpec, SpecError, SpecIssue, load
from webapp.access.models import Team
from webapp.definition import launch_check, run_checks
from webapp.definition.layout import PlacedIssue
from webapp.definition.run_form import FormData, last_value
from webapp.experiments import plan as plans
from webapp.experiments.plan import MOST_VARIED, Plan, Varied
from webapp.preflights.fingerprint import fingerprint_of
from webapp.runs.definitions import flatten

# What an experiment sets itself, and what says what the definition is.
FIXED = {"name", "seed", "version", "modality", "recipe"}
CHECK_SECONDS = 20.0
LABELS = {"repeats": "Seeds", "path": "Setting", "values": "Values"}


@dataclass(frozen=True)
class Repetition:
    """What a form asks for; `plan` is None for a single run, and while there are issues.

    `suggestions` are the settings that may vary, with their present values.
    """

    repeats: str
    rows: tuple[Varied, ...]
    plan: Plan | None
    issues: tuple[PlacedIssue, ...]
    suggestions: tuple[tuple[str, str], ...]

    @property
    def varies(self) -> bool:
        return any(row.path.strip() or row.values.strip() for row in self.rows)

    @property
    def fields(self) -> list[tuple[Varied, str, str]]:
        """Return each row with what is wrong with its path and with its values."""
        return [
            (row, self._error(f"vary-{number}-path"), self._error(f"vary-{number}-values"))
            for number, row in enumerate(self.rows)
        ]

    @property
    def repeats_error(self) -> str:
        return self._error("repeats")

    def _error(self, target: str) -> str:
        return " ".join(issue.sentence for issue in self.issues if issue.target == target)


def read(form: FormData, definition: Mapping[str, Any]) -> Repetition:
    """Return what a form asks for; of an invalid definition, which is empty, nothing is planned."""
    repeats = last_value(form, "repeats").strip() or "1"
    rows = tuple(
        Varied(last_value(form, f"vary.{row}.path"), last_value(form, f"vary.{row}.values"))
        for row in range(MOST_VARIED)
    )
    asked = Repetition(repeats, rows, None, (), tuple(_settings(definition)))
    if not definition or (repeats == "1" and not asked.varies):
        return asked
    count = int(repeats) if repeats.isdecimal() and len(repeats) < 6 else 0
    try:
        return replace(asked, plan=plans.plan(definition, _varied(rows), count))
    except SpecError as error:
        return replace(asked, issues=_placed(error.issues, rows))


def checked(repetition: Repetition, team: Team) -> Repetition:
    """Check what each arm names, as of the form itself.

    After CHECK_SECONDS the other arms are left to their runs, which check the same.
    """
    issues: list[SpecIssue] = []
    deadline = time.monotonic() + CHECK_SECONDS
    for name, spec in _arms(repetition).items():
        if time.monotonic() < deadline:
            report = run_checks.validate_references(spec, team)
            issues += [_of_arm(name, issue) for issue in report.issues]
    return _with_issues(repetition, issues)


def preflighted(repetition: Repetition, team: Team) -> Repetition:
    """Wait for the preflights of all arms, in no more time than for that of one run."""
    # Most arms differ in settings that no preflight reads.
    arms = {fingerprint_of(spec): (name, spec) for name, spec in _arms(repetition).items()}
    checks = launch_check.awaited_all([spec for _, spec in arms.values()], team)
    issues = [
        _of_arm(name, issue)
        for (name, _), check in zip(arms.values(), checks, strict=True)
        for issue in check.issues
    ]
    return _with_issues(repetition, issues)


def _with_issues(repetition: Repetition, issues: Sequence[SpecIssue]) -> Repetition:
    if not issues:
        return repetition
    return replace(repetition, plan=None, issues=_placed(issues, repetition.rows))


def _arms(repetition: Repetition) -> dict[str, RunSpec]:
    """Return a definition of each arm by its name, if any setting varies: seeds change nothing."""
    plan = repetition.plan
    if plan is None or not repetition.varies:
        return {}
    return {
        plan.arms[run.arm].name: load(run.definition)
        for run in plan.runs
        if run.seed == plan.seeds[0]
    }


def _of_arm(name: str, issue: SpecIssue) -> SpecIssue:
    return SpecIssue("vary.0.values", f"cannot be used: with {name}, {issue}")


def _settings(definition: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the settings that an experiment may vary, with their values as text."""
    for path, text in flatten(definition):
        if path not in FIXED:
            yield path, text


def _varied(rows: Sequence[Varied]) -> list[Varied]:
    return [rows[number] for number in _used(rows)]


def _used(rows: Sequence[Varied]) -> list[int]:
    """Return the numbers of the rows that are not empty."""
    return [number for number, row in enumerate(rows) if row.path.strip() or row.values.strip()]


def _placed(issues: Sequence[SpecIssue], rows: Sequence[Varied]) -> tuple[PlacedIssue, ...]:
    """Return the issues beside their fields; their paths count the rows that are not empty."""
    placed = []
    for issue in issues:
        if issue.path == "repeats":
            placed.append(PlacedIssue(issue.message, "repeats", LABELS["repeats"]))
        else:
            _, number, part = issue.path.split(".")
            row = _used(rows)[int(number)]
            placed.append(PlacedIssue(issue.message, f"vary-{row}-{part}", LABELS[part]))
    return tuple(placed)
