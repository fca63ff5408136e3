"""The preflight of a definition: what the form shows of it, and what launching waits for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from django.conf import settings

from trainer.spec import RunSpec, SpecError, SpecIssue, load
from trainer.text.preflight.findings import Finding, Report
from webapp.access.models import Team
from webapp.definition import run_checks
from webapp.nodes import queue
from webapp.preflights import preflights
from webapp.preflights.models import Preflight

NO_WORKER = "because no worker is running"
NO_ANSWER = "because no worker has answered within {seconds} s"
NOT_MADE = (
    "Tokenizers and verifier were not checked with the data, {cause}. The run checks them before "
    "its first step."
)


@dataclass(frozen=True)
class LaunchCheck:
    """`state` is that of the preflight; "not_made" where nobody makes it, and why is in `note`."""

    state: Literal["done", "checking", "not_made"]
    findings: tuple[Finding, ...] = ()
    note: str = ""

    @property
    def issues(self) -> list[SpecIssue]:
        return [
            SpecIssue(finding.path, finding.sentence)
            for finding in self.findings
            if finding.severity == "refused"
        ]

    def of(self, severity: str) -> list[Finding]:
        return [finding for finding in self.findings if finding.severity == severity]


def stored(spec: RunSpec, team: Team) -> LaunchCheck:
    """Return what is known of a definition; nothing is asked for."""
    return _from(preflights.stored_report(team, spec)) or _unanswered()


def asked(spec: RunSpec, team: Team) -> LaunchCheck:
    """Ask the workers for the preflight, unless there is its answer, and return what is known."""
    if not _has_workers():
        return stored(spec, team)
    preflight = preflights.request(team, spec)
    if check := _from(preflights.report_of(preflight)):
        return check
    return _not_made(NO_ANSWER) if _is_late(preflight) else LaunchCheck("checking")


def awaited(spec: RunSpec, team: Team) -> LaunchCheck:
    """Ask for the preflight and wait for it as long as a launch may wait."""
    return awaited_all([spec], team)[0]


def awaited_all(specs: Sequence[RunSpec], team: Team) -> list[LaunchCheck]:
    """Do the same for several definitions at once, in no more time."""
    if not specs or not _has_workers():
        return [stored(spec, team) for spec in specs]
    asked = [preflights.request(team, spec) for spec in specs]
    reports = preflights.wait_for(asked, settings.STILLROOM_PREFLIGHT_WAIT)
    return [_from(report) or _not_made(NO_ANSWER) for report in reports]


def refusal_of_definition(definition: dict[str, Any] | None, team: Team) -> str:
    """Return why a stored definition would be refused, after waiting as a launch does; else ""."""
    try:
        spec = load(definition or {})
    except SpecError:
        # A definition of an earlier version is for the run to judge.
        return ""
    # A set may have been held out since the run that is repeated.
    if refusal := run_checks.held_out_refusal(spec, team):
        return refusal
    return " ".join(issue.message for issue in awaited(spec, team).issues)


def _from(report: Report | None) -> LaunchCheck | None:
    return LaunchCheck("done", report.findings) if report else None


def _unanswered() -> LaunchCheck:
    return LaunchCheck("checking") if _has_workers() else _not_made(NO_WORKER)


def _not_made(cause: str) -> LaunchCheck:
    cause = cause.format(seconds=settings.STILLROOM_PREFLIGHT_WAIT)
    return LaunchCheck("not_made", note=NOT_MADE.format(cause=cause))


def _has_workers() -> bool:
    return queue.live_nodes().exists()


def _is_late(preflight: Preflight) -> bool:
    """Whether no worker has taken the preflight in the time that a launch waits."""
    return preflight.claimed_at is None and preflights.waited_seconds(preflight) > (
        settings.STILLROOM_PREFLIGHT_WAIT
    )
