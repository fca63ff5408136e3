"""The table of figures and settings by which runs are found, and its two writers.

A run has at most MOST_SETTINGS settings and MOST_FIGURES figures there. Kept first are the short
names; then settings in the order of SECTIONS, and figures as their writer orders them. Both writers
may be repeated: they leave what a repetition leaves.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from django.db import connection

from webapp.runs import naming, search_words
from webapp.runs.event_rows import storable
from webapp.runs.models import Run, RunIndex

MOST_SETTINGS, MOST_FIGURES = 120, 80
LONGEST_KEY, LONGEST_TEXT = 130, 200
# Characters of settings in which free words are looked for.
LONGEST_INDEX = 2000
# The parts of a definition, those that people compare first.
SECTIONS = ("seed", "networks", "stages", "pool", "data", "evaluation", "compute", "checkpoints")
# What the list shows of a run by other columns.
NOT_SETTINGS = ("version", "name", "recipe", "modality")
# Short names of settings: the first of these paths that a run has.
SHORT_NAMES: Mapping[str, tuple[str, ...]] = {
    "lr": ("stages.0.optimiser.learning_rate", "learning_rate"),
    "objective": ("stages.0.objective.kind",),
    "weighting": ("pool.weighting.kind",),
    "tokens": ("stages.0.tokens.kind",),
    "student": ("model_name_or_path", "model"),
    "teacher": ("teacher_model_name_or_path", "teacher_model"),
}

# Text that is stored and compared as a number. `float` would take 1_000 and ١ too.
NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?|[-+]?inf(?:inity)?|nan", re.I | re.A)

# A figure replaces a setting of the same name, and no setting replaces a figure.
WRITE = """
INSERT INTO runs_runvalue AS stored (run_id, team_id, key, number, text, is_setting)
SELECT %(run)s, %(team)s, given.key, given.number, given.text, %(is_setting)s
FROM unnest(%(keys)s::text[], %(numbers)s::float8[], %(texts)s::text[])
    AS given(key, number, text)
ON CONFLICT (run_id, key) DO UPDATE SET
    number = excluded.number, text = excluded.text, is_setting = excluded.is_setting
WHERE (stored.is_setting OR NOT excluded.is_setting)
    AND (stored.number, stored.text, stored.is_setting)
        IS DISTINCT FROM (excluded.number, excluded.text, excluded.is_setting)
"""
DELETE_OTHERS = """
DELETE FROM runs_runvalue WHERE run_id = %s AND is_setting = %s AND NOT key = ANY(%s)
"""


def settings_of(definition: Mapping[str, Any]) -> dict[str, Any]:
    """Return the models and the settings by dotted path of a definition, ordered by SECTIONS."""
    names = [
        *(name for name in SECTIONS if name in definition),
        # Names that start with an underscore are a client's own bookkeeping.
        *(
            name
            for name in definition
            if name not in (*SECTIONS, *NOT_SETTINGS) and not name.startswith("_")
        ),
    ]
    return {
        **naming.summary_of(dict(definition)),
        **{path: value for name in names for path, value in _leaves(name, definition[name])},
    }


def write_settings(run: Run, settings: Mapping[str, Any]) -> None:
    """Store the settings of a run in place of its earlier ones, in the caller's transaction."""
    values = {
        **_with_short_names(settings),
        **{path: value for path, value in settings.items() if _is_stored(path, value)},
    }
    _write(run, dict(list(values.items())[:MOST_SETTINGS]), is_setting=True)
    texts = dict.fromkeys(str(value) for value in values.values() if isinstance(value, str))
    text = storable("\n".join(texts).lower()[:LONGEST_INDEX])
    RunIndex.objects.update_or_create(
        run=run,
        defaults={
            "team_id": run.team_id,
            "text": text,
            "words": search_words.vector(run, text),
            "settings_left_out": max(0, len(values) - MOST_SETTINGS),
        },
    )


def write_figures(run: Run, figures: Mapping[str, float]) -> int:
    """Store the figures of a run in place of its earlier ones; return how many are left out.

    Call it in a transaction that locks the run's row.
    """
    values = {key: value for key, value in figures.items() if _is_stored(key, value)}
    _write(run, dict(list(values.items())[:MOST_FIGURES]), is_setting=False)
    return max(0, len(values) - MOST_FIGURES)


def stored_value(value: Any) -> tuple[float | None, str | None]:
    """Return the number and the text of a value. Text that reads as a number is a number."""
    if isinstance(value, bool):
        return None, "true" if value else "false"
    if isinstance(value, list):
        value = ", ".join(map(str, value))
    if not isinstance(value, int | float) and not NUMBER.fullmatch(str(value).strip()):
        return None, storable(str(value))[:LONGEST_TEXT]
    try:
        number = float(value)
    except OverflowError:
        return None, str(value)[:LONGEST_TEXT]
    return (None, "NaN") if math.isnan(number) else (number, None)


def _with_short_names(settings: Mapping[str, Any]) -> dict[str, Any]:
    values = {
        name: next((settings[path] for path in paths if _is_stored(path, settings.get(path))), None)
        for name, paths in SHORT_NAMES.items()
    }
    return {name: value for name, value in values.items() if value is not None}


def _is_stored(path: str, value: Any) -> bool:
    return value is not None and value != "" and value != [] and len(path) <= LONGEST_KEY


def _leaves(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield (dotted path, value) of numbers, texts, and lists of these."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _leaves(f"{path}.{name}", item)
    elif isinstance(value, list) and any(isinstance(item, Mapping | list) for item in value):
        for index, item in enumerate(value):
            yield from _leaves(f"{path}.{index}", item)
    else:
        yield path, value


def _write(run: Run, values: Mapping[str, Any], is_setting: bool) -> None:
    pairs = [stored_value(value) for value in values.values()]
    keys = [storable(key) for key in values]
    with connection.cursor() as cursor:
        cursor.execute(DELETE_OTHERS, [run.pk, is_setting, keys])
        cursor.execute(
            WRITE,
            {
                "run": run.pk,
                "team": run.team_id,
                "is_setting": is_setting,
                "keys": keys,
                "numbers": [number for number, _ in pairs],
                "texts": [text for _, text in pairs],
            },
        )
