"""The token panel: which tokens of the answers are trained on (TIP, arXiv 2604.14084).

Read from the events of type `token_regions`. Each token has a student entropy (as a share of ln V)
and a divergence between teacher and student (nats, logarithmic axis). Two thresholds divide the
plane into four regions. A second map shows, in the same cells, the share of tokens selected.
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
# The corner of the map (share of width, share of height) in which each region has its label.
CORNERS = {"q1": (1.0, 1.0), "q2": (1.0, 0.0), "q3": (0.0, 1.0), "q4": (0.0, 0.0)}
MAPS = (("count", "All tokens"), ("kept", "Share selected"))
AREA = PlotArea(56, 12, 300, 300)
DECADES = (1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0)
# A cell with a single token must still be visible on the background.
MIN_OPACITY = 0.12


def heat_map(event: dict[str, Any]) -> dict[str, Any]:
    """Return the cells of `event` that hold tokens, with thresholds, ticks and labels.

    A cell has two opacities: `count` (how many tokens) and `kept` (the share of them selected).
    """
    entropy, divergence = event["entropy_edges"], event["divergence_edges"]
    columns, rows = len(entropy) - 1, len(divergence) - 1
    max_count = max((count for row in event["counts"] for count in row), default=0) or 1
    cells = []
    for i, row in enumerate(event["counts"]):
        for j, count in enumerate(row):
            if count:
                share = event["kept"][i][j] / count
                cells.append(
                    {
                        "x": AREA.x(i / columns),
                        "y": AREA.y((j + 1) / rows),
                        # The square root keeps cells with few tokens visible beside the fullest.
                        "count": _opacity((count / max_count) ** 0.5),
                        "kept": _opacity(share) if share else 0,
                        "text": f"entropy {entropy[i]:.2g} to {entropy[i + 1]:.2g}, "
                        f"divergence {divergence[j]:.2g} to {divergence[j + 1]:.2g}: "
                        f"{count:,} tokens, {100 * share:.0f} % selected",
                    }
                )
    return {
        "area": AREA,
        "cell": {"width": round(AREA.width / columns, 2), "height": round(AREA.height / rows, 2)},
        "cells": cells,
        "entropy_x": AREA.x(_axis_share(entropy, event["thresholds"]["entropy"])),
        "divergence_y": AREA.y(_axis_share(divergence, event["thresholds"]["divergence"])),
        "entropy_ticks": [
            {"x": AREA.x(i / columns), "label": f"{entropy[i]:.2g}"}
            for i in range(0, columns + 1, max(1, columns // 4))
        ],
        "divergence_ticks": [
            {"y": AREA.y(_axis_share(divergence, nats)), "label": f"{nats:g}"}
            for nats in DECADES
            if divergence[0] <= nats <= divergence[-1]
        ],
        "labels": [_corner_label(region["name"]) for region in event["regions"]],
    }


def table_rows(event: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the regions as rows of the table below the maps."""
    return [
        {**region, "title": title_of(region["name"]), "meaning": NAMES[region["name"]][1]}
        for region in event["regions"]
    ]


def summary(event: dict[str, Any]) -> str:
    """Return what the panel shows as a sentence or two."""
    total = sum(count for row in event["counts"] for count in row)
    text = f"{100 * event['kept_share']:.0f} % of {total:,} tokens were selected."
    region = next((region for region in event["regions"] if region["name"] == "q3"), None)
    if region:
        text += (
            f" {100 * region['share']:.0f} % are {title_of('q3')}; they hold "
            f"{100 * region['divergence_share']:.0f} % of the divergence."
        )
    return text


def title_of(name: str) -> str:
    """Return the title of a region, such as "confident and wrong (Q3)"."""
    return f"{NAMES[name][0]} ({name.upper()})"


def charts(spec: Definition) -> tuple[Chart, ...]:
    """Return the charts of shares over steps.

    Selected and clipped shares are among them only if the definition selects or clips tokens.
    """
    return (
        Chart(
            "regions",
            "Tokens by region",
            "share of the answers' tokens",
            tuple(ChartLine(f"tokens/{name}", title_of(name)) for name in NAMES),
            "percent",
            empty="Appears with the first recorded step.",
        ),
        *(chart for chart in CHARTS if chart.id in ("selected", "capped") and chart.fits(spec)),
    )


def _axis_share(edges: list[float], value: float) -> float:
    """Return the position of `value` on an axis of equally wide cells, as a share of the axis.

    Inside a cell the position is linear between the cell's edges.
    """
    cell = min(max(bisect_right(edges, value) - 1, 0), len(edges) - 2)
    low, high = edges[cell], edges[cell + 1]
    return (cell + min(max((value - low) / (high - low), 0.0), 1.0)) / (len(edges) - 1)


def _corner_label(name: str) -> dict[str, Any]:
    # y is the baseline of the text, so a label at the top is also moved down by the height of its
    # letters.
    across, up = CORNERS[name]
    x, y = AREA.x(across) + (8 if across == 0 else -8), AREA.y(up) + (18 if up == 1 else -8)
    return {"text": name.upper(), "x": x, "y": y, "anchor": "start" if across == 0 else "end"}


def _opacity(share: float) -> float:
    return round(MIN_OPACITY + (1 - MIN_OPACITY) * share, 3)
