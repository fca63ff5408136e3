"""The evaluations of a run: the newest of each role and moment, and what they say in a sentence."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from webapp.base.number_text import percent, points
from webapp.runs import branches
from webapp.runs.models import Run

Payload = dict[str, Any]
SUBJECTS = {"evaluation": "held-out problems", "retained": "problems of the retained skill"}


@dataclass(frozen=True)
class Comparison:
    """One measured skill before training and now. `now` is the final evaluation if `final`, else
    the newest so far.
    """

    role: str
    before: Payload | None
    now: Payload | None
    final: bool
    groups: list[dict[str, Any]]


def comparisons(run: Run) -> list[Comparison]:
    """Held-out problems first, then the retained skill, where they were measured."""
    rows = run.events.filter(branches.on_live_branch(run), type="evaluation").order_by(
        "step", "attempt", "seq"
    )
    payloads = [{**payload, "step": step} for step, payload in rows.values_list("step", "payload")]
    found = [
        _comparison(role, [p for p in payloads if p["role"] == role])
        for role in ("evaluation", "retained")
    ]
    return [comparison for comparison in found if comparison.before or comparison.now]


def sentence(comparison: Comparison) -> str:
    """The result in words, plainly, also where there is none."""
    subject = SUBJECTS[comparison.role]
    now, before = comparison.now, comparison.before
    if now is None:
        return (
            f"Before training the student solved {_percent(before)} of the {subject}."
            if before
            else ""
        )
    if now["pass_rate"] is None or math.isnan(float(now["pass_rate"])):
        return "The verifier could not tell of any answer whether it is right, so there is no pass rate."
    if not now["pass_rate"]:
        return f"The student solved none of the {now['problems']:,} {subject}, in {now['samples']} attempts at each."
    difference = now.get("difference")
    if not difference:
        return f"The student solves {_percent(now)} of the {subject}."
    low, high = (float(edge) for edge in difference["interval"])
    change = f"{points(difference['pass_rate'])} points on the same problems (95 % interval {points(low)} to {points(high)})"
    when = "" if comparison.final else f" at step {now['step']:,}"
    of = f"{now['problems']:,} of the" if before and now["problems"] < before["problems"] else "the"
    same = percent(float(now["pass_rate"]) - float(difference["pass_rate"]))
    return f"{same} → {_percent(now)} of {of} {subject}{when}, {change}: {_verdict(low, high)}"


def _verdict(low: float, high: float) -> str:
    if low > 0:
        return "better than before, beyond the noise of the measurement."
    if high < 0:
        return "worse than before, beyond the noise of the measurement."
    return "no difference that the measurement can tell from noise."


def _comparison(role: str, payloads: list[Payload]) -> Comparison:
    before = next((p for p in payloads if p["when"] == "before"), None)
    later = [p for p in payloads if p["when"] != "before"]
    after = [p for p in later if p["when"] == "after"]
    now = next(reversed(after or later), None)
    return Comparison(role, before, now, bool(after), _groups(before, now))


def _groups(before: Payload | None, now: Payload | None) -> list[dict[str, Any]]:
    """Groups of the newest evaluation beside the same groups before training."""
    earlier = {(group["by"], group["name"]): group for group in (before or {}).get("groups", [])}
    newest = (now or before or {}).get("groups", [])
    return [{**group, "before": earlier.get((group["by"], group["name"]))} for group in newest]


def _percent(payload: Payload | None) -> str:
    return percent(payload["pass_rate"] if payload else None)
