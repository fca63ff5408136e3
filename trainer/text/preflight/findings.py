"""What a preflight answers: findings, each a sentence with its severity and its field."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

# The run would refuse it; it works, but probably not as meant; worth knowing.
Severity = Literal["refused", "warning", "fact"]
SEVERITIES: tuple[Severity, ...] = ("refused", "warning", "fact")
HEADINGS = {"refused": "Refused", "warning": "Warnings", "fact": "Facts"}


@dataclass(frozen=True, slots=True)
class Finding:
    """`kind` names the check, `path` the setting of the definition that can fix it."""

    severity: Severity
    kind: str
    path: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Report:
    """All findings of a preflight; `is_complete` is False where it ended before its last check."""

    findings: tuple[Finding, ...]
    is_complete: bool
    seconds: float

    @property
    def refused(self) -> list[Finding]:
        return self.of("refused")

    def of(self, severity: Severity) -> list[Finding]:
        return [finding for finding in self.findings if finding.severity == severity]

    def to_json(self) -> dict[str, Any]:
        return {
            "refused": bool(self.refused),
            "complete": self.is_complete,
            "seconds": round(self.seconds, 2),
            "findings": [asdict(finding) for finding in self.findings],
        }

    def to_text(self, name: str) -> str:
        """The report for a terminal."""
        if self.refused:
            first = f"{name} cannot run:"
        elif self.is_complete:
            first = f"{name}: the preflight refuses nothing."
        else:
            first = f"{name}: the preflight refuses nothing so far, but it is not complete."
        lines = [first]
        for severity in SEVERITIES:
            if found := self.of(severity):
                lines.append(f"{HEADINGS[severity]}:")
                lines += [f"- {finding.path}: {finding.sentence}" for finding in found]
        return "\n".join(lines) + "\n"


def report_from(answer: Mapping[str, Any]) -> Report:
    """Return the report that `to_json` wrote. Raises KeyError, TypeError or ValueError."""
    return Report(
        tuple(Finding(**finding) for finding in answer["findings"]),
        bool(answer["complete"]),
        float(answer["seconds"]),
    )


def read_report(text: str) -> Report | None:
    """Return the report in a text of JSON; None if it holds none."""
    try:
        return report_from(json.loads(text))
    except (KeyError, TypeError, ValueError):
        return None
