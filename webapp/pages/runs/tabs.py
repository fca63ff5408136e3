"""Which tabs a run has: the common ones, and the panels that it has data for or will have, as its
definition tells.
"""

from __future__ import annotations

from collections.abc import Callable

from webapp.clients.models import Origin
from webapp.live.frames import PAGE_PARTS
from webapp.runs import definitions
from webapp.runs.definitions import Definition
from webapp.runs.models import Run

Tab = tuple[str, str]


PANELS: dict[str, tuple[str, tuple[str, ...], Callable[[Definition], bool]]] = {
    "frontier": ("Frontier", ("problems", "snr"), definitions.estimates_pass_rates),
    "calibration": ("Calibration", ("calibration",), definitions.states_confidence),
    "tokens": ("Tokens", ("token_regions",), definitions.selects_tokens),
    "privileged": ("Privileged", ("privileged",), definitions.is_privileged),
}
"""Name of the address → title, types of events behind it, and whether a definition leads to
some.
"""


def tabs_of(run: Run, found: set[str]) -> list[Tab]:
    """(name, title) of a run with these panels, in order. One that a client logged has neither
    rollouts nor checkpoints.
    """
    if origin_of(run) is not None:
        return [("run", "Overview"), ("log", "Log"), ("config", "Config")]
    panels = [(name, title) for name, (title, *_) in PANELS.items() if name in found]
    return [
        ("run", "Overview"),
        *panels,
        ("rollouts", "Rollouts"),
        ("log", "Log"),
        ("config", "Config"),
        ("checkpoints", "Checkpoints"),
    ]


def origin_of(run: Run) -> Origin | None:
    """What a client or an importer said of the run; None for one that a trainer of ours carried
    out.
    """
    origin: Origin | None = getattr(run, "origin", None)
    return origin


def panels_of(run: Run, current: str) -> set[str]:
    """The panels of a run; one that is open is always among them."""
    types = {kind for _, kinds, _ in PANELS.values() for kind in kinds}
    known = set(run.events.filter(type__in=types).values_list("type", flat=True).distinct())
    spec = run.spec
    return {
        name
        for name, (_, kinds, expects) in PANELS.items()
        if name == current or known & set(kinds) or (spec is not None and expects(spec))
    }


def news_of_others(found: set[str]) -> str:
    """What makes the tabs load themselves again (hx-trigger): the first event of a panel that is
    not among them.
    """
    return ", ".join(
        f"run:{PAGE_PARTS[kinds[0]]} from:body once"
        for name, (_, kinds, _) in PANELS.items()
        if name not in found
    )
