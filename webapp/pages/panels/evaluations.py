"""The evaluations of a run before training and now, and their result as a sentence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from webapp.base.number_text import as_number, percent, points
from webapp.pages.panels.scrubber import payloads_with_step
from webapp.runs.models import Run

Payload = dict[str, Any]
# Role of an evaluation → what it measures. Held-out problems come first on the page.
SUBJECTS = {"evaluation": "held-out problems", "retained": "problems of the retained skill"}


@dataclass(frozen=True)
class SkillComparison:
    """One skill before training and now.

    `now` is the final evaluation if `final`, otherwise the newest so far. `groups` holds the groups
    of problems of the newest evaluation, each with the same group before training as `before`.
    """

    role: str
    before: Payload | None
    now: Payload | None
    final: bool
    groups: list[dict[str, Any]]


def comparisons(run: Run) -> list[SkillComparison]:
    """Return a comparison for each skill that was measured."""
    payloads = payloads_with_step(run, "evaluation")
    return [
        _comparison(role, of_role)
        for role in SUBJECTS
        if (of_role := [payload for payload in payloads if payload["role"] == role])
    ]


def result_text(comparison: SkillComparison) -> str:
    """Return the result as a sentence; it says so if there is no measurable change."""
    subject = SUBJECTS[comparison.role]
    now, before = comparison.now, comparison.before
    if now is None:
        return (
            f"Before training the student solved {percent(before['pass_rate'])} of the {subject}."
            if before
            else ""
        )
    if as_number(now["pass_rate"]) is None:
        return "No pass rate: the verifier could not tell for any answer whether it is right."
    if not now["pass_rate"]:
        return (
            f"The student solved none of the {now['problems']:,} {subject}, "
            f"with {now['samples']} attempts at each."
        )
    difference = now.get("difference")
    if not difference:
        return f"The student solves {percent(now['pass_rate'])} of the {subject}."
    low, high = (float(edge) for edge in difference["interval"])
    change = (
        f"{points(difference['pass_rate'])} points on the same problems "
        f"(95 % interval {points(low)} to {points(high)})"
    )
    when = "" if comparison.final else f" at step {now['step']:,}"
    of = f"{now['problems']:,} of the" if before and now["problems"] < before["problems"] else "the"
    # Not before["pass_rate"]: that may be of more problems than were evaluated now.
    before_rate = percent(float(now["pass_rate"]) - float(difference["pass_rate"]))
    if low > 0:
        verdict = "better than before, beyond the noise of the measurement."
    elif high < 0:
        verdict = "worse than before, beyond the noise of the measurement."
    else:
        verdict = "no difference that the measurement can tell from noise."
    return (
        f"{before_rate} → {percent(now['pass_rate'])} of {of} {subject}{when}, {change}: {verdict}"
    )


def _comparison(role: str, payloads: list[Payload]) -> SkillComparison:
    before = next((p for p in payloads if p["when"] == "before"), None)
    later = [p for p in payloads if p["when"] != "before"]
    final = [p for p in later if p["when"] == "after"]
    now = next(reversed(final or later), None)
    groups_before = {
        (group["by"], group["name"]): group for group in (before or {}).get("groups", [])
    }
    groups = [
        {**group, "before": groups_before.get((group["by"], group["name"]))}
        for group in (now or before or {}).get("groups", [])
    ]
    return SkillComparison(role, before, now, bool(final), groups)
