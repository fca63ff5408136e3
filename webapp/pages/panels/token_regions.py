"""The token panel: which tokens of the answers are learnt from (TIP, arXiv 2604.14084). From the
events of type `token_regions`.

Every token stands at its student entropy (as a share of ln V) and its divergence between teacher
and student (nats, logarithmic). The two thresholds part four regions; what was selected is drawn in
the same cells as a share of their tokens.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Any

from webapp.pages.panels.charts import CHARTS, Chart, ChartLine
from webapp.pages.panels.svg_plot import PlotArea
from webapp.runs.definitions import Definition

KIND = "token_regions"
NAMES = {
    "q1": ("both high", "uncertain, and the teacher disagrees"),
    "q2": ("entropy high", "uncertain, and the teacher agrees"),
    "q3": ("confident and wrong", "confident, and the teacher disagrees"),
    "q4": ("both low", "confident, and the teacher agrees"),
}
CORNERS = {"q1": (1.0, 1.0), "q2": (1.0, 0.0), "q3": (0.0, 1.0), "q4": (0.0, 0.0)}
MAPS = (("count", "All tokens"), ("kept", "Share selected"))
BOX = PlotArea(56, 12, 300, 300)
DECADES = (1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0)
FAINTEST = 0.12


def heat_map(event: dict[str, Any]) -> dict[str, Any]:
    """Cells of `event` that hold tokens: how many (stronger where more), and the share of them that
    was selected.
    """
    entropy, divergence = event["entropy_edges"], event["divergence_edges"]
    across, up = len(entropy) - 1, len(divergence) - 1
    most = max((count for row in event["counts"] for count in row), default=0) or 1
    cells = []
    for i, row in enumerate(event["counts"]):
        for j, count in enumerate(row):
            if count:
                kept = event["kept"][i][j] / count
                place = {"x": BOX.x(i / across), "y": BOX.y((j + 1) / up)}
                words = f"entropy {entropy[i]:.2g} to {entropy[i + 1]:.2g}, divergence {divergence[j]:.2g} to {divergence[j + 1]:.2g}"
                told = f"{words}: {count:,} tokens, {100 * kept:.0f} % selected"
                cells.append(
                    {
                        **place,
                        "count": _opacity((count / most) ** 0.5),
                        "kept": _opacity(kept) if kept else 0,
                        "words": told,
                    }
                )
    return {
        "frame": BOX,
        "cell": {"width": round(BOX.width / across, 2), "height": round(BOX.height / up, 2)},
        "cells": cells,
        "entropy_at": BOX.x(_place(entropy, event["thresholds"]["entropy"])),
        "divergence_at": BOX.y(_place(divergence, event["thresholds"]["divergence"])),
        "entropy_ticks": [
            {"at": BOX.x(i / across), "label": f"{entropy[i]:.2g}"}
            for i in range(0, across + 1, max(1, across // 4))
        ],
        "divergence_ticks": [
            {"at": BOX.y(_place(divergence, nats)), "label": f"{nats:g}"}
            for nats in DECADES
            if _within(nats, divergence)
        ],
        "labels": [_label(one["name"]) for one in event["regions"]],
    }


def rows(event: dict[str, Any]) -> list[dict[str, Any]]:
    """The regions as a table."""
    return [
        {**one, "title": called(one["name"]), "words": NAMES[one["name"]][1]}
        for one in event["regions"]
    ]


def in_words(event: dict[str, Any]) -> str:
    """The panel in a sentence."""
    by_name = {one["name"]: one for one in event["regions"]}
    total = sum(count for row in event["counts"] for count in row)
    told = f"{100 * event['kept_share']:.0f} % of {total:,} tokens were selected."
    if wrong := by_name.get("q3"):
        share, part = 100 * wrong["share"], 100 * wrong["divergence_share"]
        told += f" {share:.0f} % are {called('q3')}; they hold {part:.0f} % of the divergence."
    return told


def called(name: str) -> str:
    """A region as every figure calls it: "confident and wrong (Q3)"."""
    return f"{NAMES[name][0]} ({name.upper()})"


def charts(spec: Definition) -> tuple[Chart, ...]:
    """Shares over steps; what was selected and what was cut only where the definition selects and
    cuts.
    """
    lines = tuple(ChartLine(f"tokens/{name}", called(name)) for name in NAMES)
    empty = "Appears with the first step that is recorded."
    regions = Chart(
        "regions", "Tokens by region", "share of the answers' tokens", lines, "percent", empty=empty
    )
    return (
        regions,
        *(chart for chart in CHARTS if chart.id in ("selected", "capped") and chart.fits(spec)),
    )


def _place(edges: list[float], value: float) -> float:
    """Where a value stands among cells of equal width, as a share; within a cell as far along as
    its edges allow.
    """
    at = min(max(bisect_right(edges, value) - 1, 0), len(edges) - 2)
    low, high = edges[at], edges[at + 1]
    return (at + min(max((value - low) / (high - low), 0.0), 1.0)) / (len(edges) - 1)


def _label(name: str) -> dict[str, Any]:
    across, up = CORNERS[name]
    x, y = BOX.x(across) + (8 if across == 0 else -8), BOX.y(up) + (18 if up == 1 else -8)
    return {"text": name.upper(), "x": x, "y": y, "anchor": "start" if across == 0 else "end"}


def _within(value: float, edges: list[float]) -> bool:
    return edges[0] <= value <= edges[-1]


def _opacity(share: float) -> float:
    return round(FAINTEST + (1 - FAINTEST) * share, 3)
