"""What Trackio's client and its command line read: projects, runs, and values of metrics.

A run is named by its id, else by its name; of several runs with one name it is the newest. What
does not exist has no values, as in Trackio. Figures of the machine are stored under SYSTEM.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from itertools import groupby
from typing import Annotated, Any, Literal

from django.db.models import Q, QuerySet, Sum
from pydantic import BaseModel, Field

from webapp.access import permissions
from webapp.api.requests import ApiError, ReadRoute, Request, Route
from webapp.clients.client_batch import key
from webapp.clients.masking import masked
from webapp.clients.models import Project
from webapp.clients.runs import key_of, project_name
from webapp.runs.event_rows import storable
from webapp.runs.models import Event, Run
from webapp.series import series_store

CLIENT = "trackio"
SYSTEM = "system/"
# Values of one answer before they are sampled; they are in memory together.
MOST_VALUES = 200_000
# Trackio's own limit for whole logs.
MOST_LOGS = 3000
# Levels of our log lines as Trackio calls them.
ALERT_LEVELS = {"info": "info", "warning": "warn", "error": "error"}


Step = Annotated[int, Field(gt=-(2**63), lt=2**63)]


class Question(BaseModel):
    """The arguments of any of the calls."""

    project: str | None = None
    run: str | None = None
    run_id: str | None = None
    metric_name: str = ""
    step: Step | None = None
    around_step: Step | None = None
    at_time: str | None = None
    window: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    max_points: Step | None = None
    level: str | None = None
    since: str | None = None


Point = tuple[str, int, float, float]  # key, step, value, wall time


def get_all_projects(request: Request, question: Question) -> list[str]:
    projects = permissions.visible(request.actor, Project).filter(archived_at=None)
    return list(projects.order_by("name").values_list("name", flat=True))


def get_runs_for_project(request: Request, question: Question) -> list[dict[str, Any]]:
    return [
        {
            "id": run.origin.key,
            "name": run.origin.name or run.name,
            "created_at": run.created_at.isoformat(),
        }
        for run in _runs(request, question).defer("spec", "origin__params")
    ]


def get_project_summary(request: Request, question: Question) -> dict[str, Any]:
    runs = get_runs_for_project(request, question)
    steps = _runs(request, question).values_list("step", flat=True)
    return {
        "project": question.project,
        "num_runs": len(runs),
        "runs": runs,
        "last_activity": max(steps, default=None),
    }


def get_run_configs(request: Request, question: Question) -> dict[str, Any]:
    return {
        run.origin.name or run.name: masked(run.origin.params) for run in _runs(request, question)
    }


def get_run_summary(request: Request, question: Question) -> dict[str, Any]:
    """The state of a run; a client that resumes it continues its own counter at `last_step`."""
    run = _run(request, question)
    if run is None:
        return {
            "project": question.project,
            "run": question.run,
            "run_id": question.run_id,
            "num_logs": 0,
            "metrics": [],
            "config": None,
            "last_step": None,
        }
    metrics = _metrics(run)
    return {
        "project": question.project,
        "run": run.origin.name or run.name,
        "run_id": run.origin.key,
        "num_logs": _number_of_logs(run),
        "metrics": metrics,
        "config": masked(run.origin.params),
        # Figures of the machine are stored at step 0 until the first log, and are no step.
        "last_step": run.step if run.step or metrics else None,
    }


def get_metrics_for_run(request: Request, question: Question) -> list[str]:
    run = _run(request, question)
    return [] if run is None else _metrics(run)


def get_system_metrics_for_run(request: Request, question: Question) -> list[str]:
    run = _run(request, question)
    return [] if run is None else [name.removeprefix(SYSTEM) for name in _system_keys(run)]


def get_metric_values(request: Request, question: Question) -> list[dict[str, Any]]:
    run = _run(request, question)
    points = [] if run is None else _points(run, [key(question.metric_name)], question)
    return [_value(point) for point in _sampled(points, question.max_points)]


def get_snapshot(request: Request, question: Question) -> dict[str, list[dict[str, Any]]]:
    """The values of every metric at a step, around it, or around a time."""
    run = _run(request, question)
    values: dict[str, list[dict[str, Any]]] = {}
    for point in [] if run is None else _points(run, _metrics(run), question):
        values.setdefault(point[0], []).append(_value(point))
    return values


def get_logs(request: Request, question: Question) -> list[dict[str, Any]]:
    run = _run(request, question)
    return [] if run is None else _logs(_points(run, _metrics(run), question), "")


def get_system_logs(request: Request, question: Question) -> list[dict[str, Any]]:
    run = _run(request, question)
    return [] if run is None else _logs(_points(run, _system_keys(run), question), SYSTEM)


def get_alerts(request: Request, question: Question) -> list[dict[str, Any]]:
    """The lines of the log, among which alerts are, newest first; title and text are one line."""
    runs = _runs(request, question)
    if question.run_id or question.run:
        run = _run(request, question)
        runs = runs.none() if run is None else runs.filter(pk=run.pk)
    lines = permissions.visible(request.actor, Event).filter(run__in=runs, type="log")
    if question.level:
        levels = [ours for ours, theirs in ALERT_LEVELS.items() if theirs == question.level]
        lines = lines.filter(payload__level__in=levels)
    if question.since:
        since = datetime.fromtimestamp(_moment(question.since), UTC)
        lines = lines.filter(wall_time__gt=since)
    return [
        {
            "timestamp": line.wall_time.isoformat(),
            "run": line.run.origin.name or line.run.name,
            "title": line.payload["message"],
            "text": None,
            "level": ALERT_LEVELS[line.payload["level"]],
            "step": line.step,
        }
        for line in lines.select_related("run__origin").order_by("-wall_time")[:MOST_LOGS]
    ]


def _runs(request: Request, question: Question) -> QuerySet[Run]:
    """The runs of a project, in the order in which they were created."""
    return (
        permissions.visible(request.actor, Run)
        .filter(
            origin__client=CLIENT,
            origin__project__name=project_name(storable(question.project or "")),
            archived_at=None,
        )
        .select_related("origin")
        .order_by("pk")
    )


def _run(request: Request, question: Question) -> Run | None:
    runs = _runs(request, question)
    if question.run_id:
        return runs.filter(origin__key=key_of(storable(question.run_id))).last()
    name = storable(question.run or "")
    return runs.filter(Q(origin__name=name) | Q(origin__name="", name=name)).last()


def _metrics(run: Run) -> list[str]:
    return [name for name in series_store.keys(run) if not name.startswith(SYSTEM)]


def _system_keys(run: Run) -> list[str]:
    return [name for name in series_store.keys(run) if name.startswith(SYSTEM)]


def _number_of_logs(run: Run) -> int:
    """The number of logs of metrics.

    Logs, figures of the machine and lines of the log have one numbering. The figures come together
    in one log, so that each series of them has one value for each.
    """
    numbered = run.attempts.aggregate(count=Sum("last_seq"))["count"] or 0
    system = series_store.point_counts(run, _system_keys(run))
    return max(0, numbered - run.events.count() - max(system.values(), default=0))


def _points(run: Run, names: Sequence[str], question: Question) -> list[Point]:
    """The points in the asked range of steps or times. Raises ApiError if there are too many."""
    window = question.window
    if question.step is not None:
        is_asked = partial(_is_near, 1, question.step, 0.0)
    elif question.around_step is not None and window is not None:
        is_asked = partial(_is_near, 1, question.around_step, window)
    elif question.at_time is not None and window is not None:
        is_asked = partial(_is_near, 3, _moment(question.at_time), window)
    else:
        return _counted(_all_points(run, names))
    return _counted(filter(is_asked, _all_points(run, names)))


def _is_near(index: Literal[1, 3], middle: float, window: float, point: Point) -> bool:
    """Whether the step (1) or the time (3) of a point is within the window."""
    return abs(point[index] - middle) <= window


def _all_points(run: Run, names: Sequence[str]) -> Iterator[Point]:
    for _, step, name, value, _, _, wall_time in series_store.export_rows(run, names):
        yield name, step, value, wall_time


def _counted(points: Iterator[Point]) -> list[Point]:
    counted: list[Point] = []
    for point in points:
        if len(counted) == MOST_VALUES:
            raise ApiError(
                400,
                "INVALID_PARAMETER_VALUE",
                f"This has more than {MOST_VALUES:,} values. Ask for a step with a window.",
            )
        counted.append(point)
    return counted


def _logs(points: list[Point], prefix: str) -> list[dict[str, Any]]:
    """What was logged together, in order of time; without a prefix with its step."""
    points.sort(key=lambda point: (point[3], point[1]))
    logs = []
    for (wall_time, step), together in groupby(points, key=lambda point: (point[3], point[1])):
        values = {
            name.removeprefix(prefix): series_store.json_number(value)
            for name, _, value, _ in together
        }
        logs.append({**values, "timestamp": _iso(wall_time), **({} if prefix else {"step": step})})
    return _sampled(logs, MOST_LOGS)


def _sampled(rows: list[Any], count: int | None) -> list[Any]:
    """At most `count` rows, evenly spread, with the first and the last."""
    if count is None or count < 1 or len(rows) <= count:
        return rows
    if count == 1:
        return rows[-1:]
    last = len(rows) - 1
    return [rows[index] for index in sorted({i * last // (count - 1) for i in range(count)})]


def _value(point: Point) -> dict[str, Any]:
    _, step, value, wall_time = point
    return {
        "timestamp": _iso(wall_time),
        "step": step,
        "value": series_store.json_number(value),
    }


def _iso(wall_time: float) -> str:
    return datetime.fromtimestamp(wall_time, UTC).isoformat()


def _moment(text: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise ApiError(
            400,
            "INVALID_PARAMETER_VALUE",
            f"The time {text[:60]!r} is no moment of the calendar. Write it as "
            "2026-11-30T12:00:00.",
        ) from None


def _answered(
    call: Callable[[Request, Question], Any], names: Sequence[str], request: Request
) -> dict[str, Any]:
    """The answer of a call whose arguments come by position, in the order of `names`, or by name.

    Raises ApiError or ValidationError for a body of another shape.
    """
    try:
        body = json.loads(request.body)
        arguments = dict(zip(names, body.get("args") or [], strict=False))
        arguments |= body.get("kwargs") or {}
    except (ValueError, AttributeError, TypeError, RecursionError):
        raise ApiError(
            400, "BAD_REQUEST", 'The body must be JSON of the shape {"kwargs": {"project": …}}.'
        ) from None
    return {"data": call(request, Question.model_validate(storable(arguments)))}


RUN = ("project", "run", "run_id")
# The parameters of each call in the order in which clients give them by position.
CALLS: dict[Callable[[Request, Question], Any], Sequence[str]] = {
    get_all_projects: (),
    get_runs_for_project: ("project",),
    get_project_summary: ("project",),
    get_run_configs: ("project",),
    get_run_summary: RUN,
    get_metrics_for_run: RUN,
    get_system_metrics_for_run: RUN,
    get_logs: RUN,
    get_system_logs: RUN,
    get_metric_values: (
        *("project", "run", "metric_name", "step", "around_step", "at_time", "window"),
        *("run_id", "max_points"),
    ),
    # As `trackio get snapshot` gives them, which is not the order of Trackio's own server.
    get_snapshot: ("project", "run", "step", "around_step", "at_time", "window"),
    get_alerts: ("project", "run", "level", "since", "run_id"),
}
ROUTES: dict[tuple[str, str], Route] = {
    ("POST", f"/api/{call.__name__}"): ReadRoute(partial(_answered, call, names))
    for call, names in CALLS.items()
}
