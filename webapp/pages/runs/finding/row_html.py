"""The rows of the list of runs as HTML.

Python writes them instead of templates, because a page has up to 70 rows of 20 cells, in which
templates spend three times as long as everything else that a page of the list needs. Whatever is
not constant is escaped by `_text`, or is a number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from html import escape
from typing import Any

from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.safestring import SafeString

from webapp.base.number_text import duration, grouped, percent, points
from webapp.pages.runs.finding.columns import Column
from webapp.pages.templatetags.figures import age, sparkline
from webapp.runs import status_text
from webapp.runs.better import better
from webapp.runs.models import ACTIVE, Run

# Of the series that the lists of runs draw (`webapp.ingest.progress`).
SKETCHED_NAMES = {
    "eval/common/pass_rate": "held-out pass rate",
    "eval/pass_rate": "held-out pass rate",
}
ARROWS = {"higher": " ↑", "lower": " ↓"}


def rows_html(
    runs: Sequence[Run], columns: Sequence[Column], texts: Mapping[int, Mapping[str, str]]
) -> SafeString:
    """Return a table row for each run; `texts` are those of its value columns by its key."""
    # Looking up an address takes longer than the rest of a row's heading.
    address = reverse("run", args=["ID"])
    rows = (_row(run, columns, texts[run.pk], address.replace("ID", run.public_id)) for run in runs)
    return SafeString("\n".join(rows))


def _row(run: Run, columns: Sequence[Column], texts: Mapping[str, str], address: str) -> str:
    cells = (
        _value_cell(column, texts.get(column.name, ""))
        if column.is_value
        else CELLS[column.name](run)
        for column in columns
    )
    return f"<tr {_attributes(run)}>{_selection(run)}{_heading(run, address)}{''.join(cells)}</tr>"


def _attributes(run: Run) -> str:
    last_event = run.last_event_at.isoformat() if run.last_event_at else ""
    return (
        f'data-run="{run.public_id}" data-state="{run.state}" '
        f'data-state-text="{status_text.state_of(run)}" data-last-event="{last_event}" '
        f'data-patience="{round(status_text.silence_limit(run).total_seconds())}" '
        f'data-sparkline="{len(run.summary.get("sparkline") or ())}" data-edits="{run.edits}"'
    )


def _selection(run: Run) -> str:
    return (
        f'<td class="select-cell"><input type="checkbox" id="select-{run.public_id}" name="run" '
        f'value="{run.public_id}" form="selection" autocomplete="off" '
        f'aria-label="Select {_text(run.name)}"></td>'
    )


def _heading(run: Run, address: str) -> str:
    pinned = ' <span class="badge plain">pinned</span> ' if run.pinned else ""
    cohort = f" {_cohort_badge()} " if run.summary.get("cohort") else ""
    # Only runs of clients have an origin.
    origin = getattr(run, "origin", None)
    about = " · ".join([run.recipe + (origin.project.name if origin else ""), *run.tags])
    return (
        f'<th scope="row" class="run-name"><a id="open-{run.public_id}" href="{address}">'
        f'{_text(run.name)}</a>{pinned}{cohort}<span class="muted small">{_text(about)}</span></th>'
    )


@cache
def _cohort_badge() -> str:
    return render_to_string("runs/_cohort.html")


def _value_cell(column: Column, text: str) -> str:
    title, text = _text(column.title), _text(text)
    return (
        f'<td class="number value-cell{_absent(text)}" data-label="{title}" title="{text}">'
        f"{text or '–'}</td>"
    )


def _state(run: Run) -> str:
    is_client, is_silent = run.source == Run.Source.CLIENT, status_text.is_silent(run)
    heard = " data-heard" if is_client else ""
    return (
        f'<td class="state-cell"><span class="badge {run.state}"{heard}'
        f"{_hidden(is_client and is_silent)}>{status_text.state_of(run)}</span> "
        f'<span class="badge warn" data-silent{_hidden(not is_silent)}>'
        f"{'silent' if is_client else 'no signal'}</span></td>"
    )


def _progress(run: Run) -> str:
    # A client may not say how long its run is going to be.
    has_bar = run.source == Run.Source.MANAGED or run.total_steps is not None
    bar = (
        f'<progress max="{run.total_steps or 1}" value="{run.step}" '
        f'aria-label="Progress of {_text(run.name)}"></progress>'
    )
    steps = f'<span data-live="step">{grouped(run.step)}</span>'
    total = f" of {grouped(run.total_steps)}" if run.total_steps else ""
    return (
        f'<td class="progress-cell">{bar if has_bar else ""} <span class="small muted">'
        f"{'' if has_bar else 'step '}{steps}{total}"
        f'<span class="phase" data-live="phase">{_text(status_text.phase_of(run))}</span>'
        f'<span class="phase" data-live="eta">{_time_left(run)}</span></span></td>'
    )


def _time_left(run: Run) -> str:
    left = run.summary.get("eta_s")
    if run.state not in ACTIVE or left is None:
        return ""
    is_partial = run.summary.get("final_evaluation_s") is None
    return f"{duration(left)} left{', without the final evaluation' if is_partial else ''}"


def _models(run: Run) -> str:
    student, teacher = run.summary.get("student"), run.summary.get("teacher")
    if not student:
        return '<td class="pair absent">–</td>'
    source = f'<span class="muted">← {_text(teacher or "–")}</span>'
    return f'<td class="pair">{_text(student)} {source}</td>'


def _pass_rate(run: Run) -> str:
    rate = run.summary.get("pass_rate")
    return (
        f'<td class="number{_absent(rate is not None)}" data-label="Pass rate" '
        f'data-live="pass_rate">{percent(rate)}</td>'
    )


def _difference(run: Run) -> str:
    difference = run.summary.get("difference") or {}
    return (
        f'<td class="number{_absent(difference)}" data-label="vs. base" data-live="difference">'
        f"{points(difference.get('pass_rate'))}</td>"
    )


def _sparkline(run: Run) -> str:
    """Return the curve, its name, and an arrow to the better direction."""
    values, key = run.summary.get("sparkline"), str(run.summary.get("sketched") or "")
    if not values:
        return '<td class="curve-cell absent"></td>'
    name, direction = SKETCHED_NAMES.get(key, key), better(key)
    label = f"{name} ({key}), {direction} is better" if direction else name
    caption = (
        f'<span class="curve-name small muted" title="{_text(label)}">{_text(name)}'
        f"{ARROWS.get(direction or '', '')}</span>"
    )
    return f'<td class="curve-cell">{sparkline(values, label)}{caption if name else ""}</td>'


def _owner(run: Run) -> str:
    return f'<td class="owner">{_text(run.owner or "–")}</td>'


def _created(run: Run) -> str:
    return f'<td class="nowrap muted">{age(run.created_at)}</td>'


CELLS: Mapping[str, Callable[[Run], str]] = {
    "state": _state,
    "progress": _progress,
    "models": _models,
    "pass_rate": _pass_rate,
    "difference": _difference,
    "sparkline": _sparkline,
    "owner": _owner,
    "created": _created,
}


def _text(value: Any) -> str:
    return escape(str(value))


def _absent(value: Any) -> str:
    return "" if value else " absent"


def _hidden(is_hidden: bool) -> str:
    return " hidden" if is_hidden else ""
