"""Whether a page shows something else than the saved comparison does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from webapp.comparisons.choices import Choices
from webapp.comparisons.interest import interest_of
from webapp.comparisons.statements import ComparedItem

# Choices that scripts change without loading the page again (static/js/compare/choices.js).
IN_PAGE = ("axis", "smoothing", "zoom", "hidden", "coordinates", "ranges")


def saved_state(
    choices: Choices, saved: Choices | None, usual: Choices, items: Sequence[ComparedItem]
) -> dict[str, Any]:
    """Return whether the page differs from `saved`, and what its scripts need to find out.

    `usual` has what counts where nothing was chosen.
    """
    defaults = usual.stored()
    shown_choices: dict[str, Any] = {
        "query": choices.query(),
        "usual": {name: defaults.get(name, "") for name in IN_PAGE},
        "saved": None,
        "differs": False,
    }
    if saved is None:
        return {"is_changed": False, "shown_choices": shown_choices}
    shown, stored = (_filled(each, saved, usual, items) for each in (choices, saved))
    names = shown.keys() | stored.keys()
    differing = {name for name in names if shown.get(name) != stored.get(name)}
    shown_choices |= {
        "saved": {name: stored.get(name, "") for name in IN_PAGE},
        "differs": bool(differing.difference(IN_PAGE)),
    }
    return {"is_changed": bool(differing), "shown_choices": shown_choices}


def _filled(
    choices: Choices, saved: Choices, usual: Choices, items: Sequence[ComparedItem]
) -> Mapping[str, str]:
    """The choices with what they lead to: the first run of the baseline's group, δ as a number."""
    baseline = next(
        (item.id for item in items if any(run.run == choices.baseline for run in item.group.runs)),
        "",
    )
    interest = repr(interest_of(choices, saved, None).value)
    made = replace(choices, baseline=baseline, asked_interest=interest, all_settings=False)
    return {**usual.stored(), **made.stored()}
