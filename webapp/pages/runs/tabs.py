"""The tabs of a run: those that every run has, and the panels that fit the run."""

from __future__ import annotations

from collections.abc import Callable

from webapp.clients.models import Origin
from webapp.live.frames import PAGE_PARTS
from webapp.runs import definitions
from webapp.runs.definitions import Definition
from webapp.runs.models import Run

Tab = tuple[str, str]

# URL name → (title, types of the events behind it, whether a definition leads to such events).
PANELS: dict[str, tuple[str, tuple[str, ...], Callable[[Definition], bool]]] = {
    "frontier": ("Frontier", ("problems", "snr"), definitions.estimates_pass_rates),
    "calibration": ("Calibration", ("calibration",), definitions.states_confidence),
    "tokens": ("Tokens", ("token_regions",), definitions.selects_tokens),
    "privileged": ("Privileged", ("privileged",), definitions.is_privileged),
}


def tabs_of(run: Run, panels: set[str], may_download: bool) -> list[Tab]:
    """Return (URL name, title) of each tab, in order.

    A run that a client logged has no panels, rollouts or checkpoints. Its files are for those who
    may download them: secrets in them are not masked.
    """
    if origin_of(run) is not None:
        files = [("files", "Files")] if may_download else []
        return [("run", "Overview"), *files, ("log", "Log"), ("config", "Config")]
    return [
        ("run", "Overview"),
        *((name, title) for name, (title, *_) in PANELS.items() if name in panels),
        ("rollouts", "Rollouts"),
        ("system", "System"),
        ("log", "Log"),
        ("config", "Config"),
        ("checkpoints", "Checkpoints"),
    ]


def origin_of(run: Run) -> Origin | None:
    """Return what a client or an importer recorded about the run; None for a managed run."""
    # The reverse side of a one-to-one relation raises if there is no row.
    origin: Origin | None = getattr(run, "origin", None)
    return origin


def panels_of(run: Run, current: str) -> set[str]:
    """Return the URL names of the run's panels; `current` is among them if it is a panel."""
    types = {kind for _, kinds, _ in PANELS.values() for kind in kinds}
    recorded = set(run.events.filter(type__in=types).values_list("type", flat=True).distinct())
    spec = run.spec
    return {
        name
        for name, (_, kinds, expects) in PANELS.items()
        if name == current or recorded & set(kinds) or (spec is not None and expects(spec))
    }


def new_panel_triggers(panels: set[str]) -> str:
    """Return the hx-trigger that reloads the tabs on the first event of a panel not in `panels`."""
    return ", ".join(
        f"run:{PAGE_PARTS[kinds[0]]} from:body once"
        for name, (_, kinds, _) in PANELS.items()
        if name not in panels
    )
