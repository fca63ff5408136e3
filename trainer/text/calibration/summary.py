"""The fields of a `calibration` event, and the metrics made of them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Literal

from trainer.text.calibration import metrics as measures
from trainer.text.calibration.codec import PROBLEMS

Readout = Literal["stated", "expected", "answer"]

METRICS = (
    "ece",
    "ece_mass",
    "ece_if_calibrated",
    "brier",
    "gap",
    "spr",
    "auroc",
    "mean_confidence",
)


def summarise(
    readout: Readout,
    confidence: Sequence[float | None],
    correct: Sequence[bool | None],
    malformed: Sequence[str] = (),
) -> dict[str, Any]:
    """Return the fields of a `calibration` event; calibration/metrics.py defines them.

    Each argument has one entry per answer; `malformed` is the problem of its statement, "" if there
    is none. Answers without a verdict are left out. An answer without a confidence counts as 0 for
    "stated" and is left out otherwise; `n` counts the others. Numbers are NaN if n = 0, and `spr`
    and `auroc` also if all answers are right or all are wrong.
    """
    missing = 0.0 if readout == "stated" else None
    filled = [missing if value is None else value for value in confidence]
    judged = [
        (value, right)
        for value, right in zip(filled, correct, strict=True)
        if value is not None and right is not None
    ]
    counts = Counter(malformed)
    return {
        "readout": readout,
        "n": len(judged),
        "malformed": {problem: counts[problem] for problem in PROBLEMS},
        "malformed_share": sum(counts[problem] for problem in PROBLEMS) / max(1, len(confidence)),
        **_numbers([value for value, _ in judged], [float(right) for _, right in judged]),
    }


def metrics(event: Mapping[str, Any]) -> dict[str, float]:
    """Return a `calibration` event as flat metrics, such as `calibration/<readout>/ece`.

    `calibration/<readout>/malformed` is a share of the answers.
    """
    head = f"calibration/{event['readout']}/"
    return {head + name: event[name] for name in METRICS} | {
        head + "malformed": event["malformed_share"]
    }


def _numbers(c: list[float], y: list[float]) -> dict[str, Any]:
    if not c:
        no_values = dict.fromkeys((*METRICS, "accuracy", "risk_coverage_area"), math.nan)
        return {**no_values, "brier_parts": None, "bins": [], "risk_coverage": []}
    return {
        "mean_confidence": sum(c) / len(c),
        "accuracy": sum(y) / len(y),
        "ece": measures.ece(c, y),
        "ece_mass": measures.ece(c, y, spacing="mass"),
        "ece_if_calibrated": measures.expected_ece(c),
        "brier": measures.brier(c, y),
        "brier_parts": asdict(measures.brier_decomposition(c, y)),
        "gap": measures.over_confidence_gap(c, y),
        "spr": measures.spr(c, y),
        "auroc": measures.auroc(c, y),
        "bins": [asdict(reliability_bin) for reliability_bin in measures.reliability(c, y)],
        "risk_coverage": [list(point) for point in measures.risk_coverage(c, y)],
        "risk_coverage_area": measures.risk_coverage_area(c, y),
    }
