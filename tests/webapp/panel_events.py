"""Events of the panels as the trainer makes them, for answers and tokens made by rule.

The student claims what tests can name: it states about 0.9 for every answer before training, and
comes down to its pass rate by step 60.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.webapp.recorded import SPEC, Recorder, rate
from trainer.text.calibration import summary
from trainer.text.training import token_importance

Event = dict[str, Any]

OPSD = {"kind": "self", "weights": "initial", "context": {"kind": "privileged", "shows": "answer"}}
ALL_PANELS: dict[str, Any] = {
    **SPEC,
    "version": 2,
    "recipe": "caopd",
    "networks": {"student": SPEC["networks"]["student"], "teacher": OPSD},
    "data": {**SPEC["data"], "confidence": {"kind": "stated"}},
    "stages": [{**stage, "tokens": {"kind": "selected"}} for stage in SPEC["stages"]],
}
"""A definition that leads to every panel."""

ANSWERS = 200


def calibration(step: int, when: str = "during", readout: summary.Readout = "stated") -> Event:
    """200 answers, the first of them right; one of ten states nothing that can be read."""
    right = [index < rate(step) * ANSWERS for index in range(ANSWERS)]
    claimed = 0.9 + (rate(step) - 0.9) * step / 60
    unreadable = readout == "stated"
    stated: list[float | None] = [
        None if unreadable and index % 10 == 0 else min(1.0, claimed + 0.1 * (index % 3 - 1))
        for index in range(ANSWERS)
    ]
    wrong = ["missing" if value is None else "" for value in stated]
    fields = summary.summarise(readout, stated, right, wrong)
    return {"type": "calibration", "step": step, "when": when, "role": "evaluation", **fields}


def token_regions(step: int) -> Event:
    """1,000 tokens; the half with the larger divergence is kept."""
    random = np.random.default_rng(step)
    entropy, divergence = random.exponential(0.6, 1000), random.lognormal(-4 + step / 60, 2, 1000)
    regions = token_importance.regions(
        entropy, divergence, divergence > np.median(divergence), vocabulary=64
    )
    return {"type": "token_regions", "step": step, "stage": "forward", **regions}


def privileged(step: int, when: str = "during", continuation: float | None = 0.7) -> Event:
    """The teacher solves 80 %, and goes on from the student's beginnings to `continuation`."""

    def told(value: float) -> Event:
        return {"pass_rate": value, "interval": [value - 0.05, value + 0.05]}

    rates = {
        "plain": told(rate(step)),
        "privileged": told(0.8),
        "continuation": None if continuation is None else told(continuation),
    }
    return {
        "type": "privileged",
        "step": step,
        "when": when,
        "problems": 64,
        "samples": 4,
        **rates,
        "difference": None if continuation is None else told(continuation - rate(step)),
    }


def pipeline(step: int) -> Event:
    return {
        "type": "pipeline",
        "step": step,
        "stage": "reverse",
        "generated": 900,
        "consumed": 850,
        "buffered": 0,
        "pruned": 0,
        "dropped": {"too_long": 50},
        "rows": 60,
        "share_edited": 0.25,
    }


def metrics_of(event: Event) -> Event:
    """The metrics that the trainer writes beside an event."""
    metrics_by_type = {
        "calibration": summary.metrics,
        "token_regions": token_importance.region_metrics,
        "privileged": _rates,
    }
    return {
        "type": "metrics",
        "step": event["step"],
        "stage": "forward",
        "values": metrics_by_type[event["type"]](event),
    }


def _rates(event: Event) -> dict[str, float]:
    names = {
        "privileged": "pass_rate",
        "plain": "plain_pass_rate",
        "continuation": "continuation_pass_rate",
    }
    return {
        f"privileged/{key}": event[name]["pass_rate"] for name, key in names.items() if event[name]
    }


def send_panels(recorder: Recorder, step: int, when: str = "during") -> None:
    """Everything that the panels show of a step."""
    events = [
        calibration(step, when, "stated"),
        calibration(step, when, "expected"),
        calibration(step, when, "answer"),
    ]
    regions, rates = token_regions(step), privileged(step, when)
    recorder.send(
        [*events, regions, rates, pipeline(step), *map(metrics_of, [*events, regions, rates])]
    )
