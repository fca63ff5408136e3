"""The evaluations of a run before training and now, and their result as a sentence."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from webapp.base.number_text import as_number, percent, points
from webapp.pages.panels.scrubber import events, payloads_with_step
from webapp.runs.models import Run
from webapp.series import series_store

Payload = dict[str, Any]
# Role of an evaluation → the series of its pass rate.
SERIES = {"evaluation": "eval/pass_rate", "retained": "retained/pass_rate"}
# The same of the held-out problems that every evaluation asks, also those during training.
COMMON_SERIES = "eval/common/pass_rate"
# Role of an evaluation → what it measures. Held-out problems come first on the page.
SUBJECTS = {"evaluation": "held-out problems", "retained": "problems of the retained skill"}
COHORT = "problems of the cohort"


@dataclass(frozen=True)
class SkillComparison:
    """One skill before training and now.

    `now` is the final evaluation if `final`, otherwise the newest so far. `rows` holds all problems
    of the newest evaluation and then each group of them, with what the same problems had before
    training as `before`. `subject` says which problems they are.
    """

    role: str
    before: Payload | None
    now: Payload | None
    final: bool
    rows: list[dict[str, Any]]
    subject: str = SUBJECTS["evaluation"]


def comparisons(run: Run) -> list[SkillComparison]:
    """Return a comparison for each skill that was measured."""
    payloads = payloads_with_step(run, "evaluation")
    subjects = {**SUBJECTS, **({"evaluation": COHORT} if run.summary.get("cohort") else {})}
    return [
        _comparison(role, of_role, subject)
        for role, subject in subjects.items()
        if (of_role := [payload for payload in payloads if payload["role"] == role])
    ]


def result_text(comparison: SkillComparison) -> str:
    """Return the result as a sentence; it says so if there is no measurable change."""
    subject = comparison.subject
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
    before_rate = percent(rate_before(now))
    if low > 0:
        verdict = "better than before, beyond the noise of the measurement."
    elif high < 0:
        verdict = "worse than before, beyond the noise of the measurement."
    else:
        verdict = "no difference that the measurement can tell from noise."
    return (
        f"{before_rate} → {percent(now['pass_rate'])} of {of} {subject}{when}, {change}: {verdict}"
    )


def _comparison(role: str, payloads: list[Payload], subject: str) -> SkillComparison:
    before = next((p for p in payloads if p["when"] == "before"), None)
    later = [p for p in payloads if p["when"] != "before"]
    final = [p for p in later if p["when"] == "after"]
    now = next(reversed(final or later), None)
    newest = now or before or {}
    all_problems = {**newest, "by": "", "name": "All", "n": newest.get("problems")}
    groups_before = {
        (group["by"], group["name"]): group for group in (before or {}).get("groups", [])
    }
    if before is not None:
        groups_before["", "All"] = {**before, "n": before["problems"]}
    rows = [
        {**row, "before": _before(row, groups_before.get((row["by"], row["name"])))}
        for row in (all_problems, *newest.get("groups", []))
    ]
    return SkillComparison(role, before, now, bool(final), rows, subject)


def _before(row: Payload, first: Payload | None) -> Payload | None:
    """Return the pass rate before training of the problems of a row.

    An evaluation during training may be of fewer problems than the first one. Of these only the
    difference was recorded, without an interval of the rate before.
    """
    rate = rate_before(row)
    if first is None or rate is None or first["n"] == row["n"]:
        return first
    return {"pass_rate": rate, "interval": None}


def rate_before(evaluation: Payload) -> float | None:
    """Return the pass rate that the evaluated problems had before training, None if unknown."""
    rate = as_number(evaluation["pass_rate"])
    difference = as_number((evaluation.get("difference") or {}).get("pass_rate"))
    return None if rate is None or difference is None else rate - difference


def bases(run: Run, axis: series_store.Axis) -> dict[str, list[tuple[float, float]]]:
    """Return, by series, (x, rate) of the live branch's evaluations.

    The rate is that before training of the problems that were evaluated there. Where it stays the
    same, only its last evaluation is listed.
    """
    rates_by_key: dict[str, dict[int, float]] = {}
    common_before: float | None = None
    for step, role, when, rate, difference, common_rate in (
        events(run, "evaluation")
        .exclude(step=None)
        .values_list(
            "step",
            "payload__role",
            "payload__when",
            "payload__pass_rate",
            "payload__difference__pass_rate",
            "payload__common__pass_rate",
        )
    ):
        payload = {
            "pass_rate": rate,
            "difference": {"pass_rate": 0 if when == "before" else difference},
        }
        base = rate_before(payload)
        if role in SERIES and base is not None and step is not None:
            rates_by_key.setdefault(SERIES[role], {})[step] = base
        if when == "before" and role == "evaluation":
            common_before = as_number(common_rate)
        if step is not None and common_before is not None and common_rate is not None:
            rates_by_key.setdefault(COMMON_SERIES, {})[step] = common_before
    return {key: _placed(run, key, axis, rates) for key, rates in rates_by_key.items()}


def _placed(
    run: Run, key: str, axis: series_store.Axis, rates: dict[int, float]
) -> list[tuple[float, float]]:
    positions = {step: float(step) for step in rates}
    if axis != "step":
        positions = series_store.axis_positions(run, key, axis, rates)
    placed = sorted((positions[step], rate) for step, rate in rates.items() if step in positions)
    is_last = [not math.isclose(rate, after) for (_, rate), (_, after) in pairwise(placed)]
    return [point for point, last in zip(placed, [*is_last, True], strict=False) if last]
