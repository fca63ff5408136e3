"""Trackio's API (version 1 of its HTTP transport), as its stock client uses it.

The client repeats what it could not deliver in one piece until it succeeds. So a value that cannot
be stored never refuses the request: numbers are stored, and the names of everything else are noted
on the run.
"""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import Annotated, Any, Generic, NotRequired, TypeVar

from pydantic import FailFast, Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from webapp.api import trackio_files, trackio_read
from webapp.api.requests import FileRoute, LogAnswer, LogRoute, ReadRoute, Request, Route
from webapp.api.trackio_read import CLIENT, SYSTEM
from webapp.clients.client_batch import (
    ClientBatch,
    LoggedValues,
    LogLine,
    RunAddress,
    cut,
    digest_id,
    key,
    step,
)
from webapp.clients.run_files import FileRefused, refusal_line, safe_path
from webapp.clients.values import flat, numbers
from webapp.runs.event_rows import storable

# Requests below this prefix wait while they cannot be accepted, instead of being refused: the
# client sends no alert a second time, and what it keeps to send later gets stuck behind a value
# that is not finite (trackio 0.43).
PREFIX = "/api/bulk_"
# The client uses this server only if the API's version is 1 (trackio/remote_client.py).
VERSION = {"version": "stillroom", "api_version": 1, "api_transport": "http", "mcp_enabled": False}
# The trainer's own step. Trackio's client counts calls of `log`, which are not steps of training.
STEP_KEY = "train/global_step"
LEVELS = {"info": "info", "warn": "warning", "error": "error"}
LONGEST_MESSAGE = 2000
LONGEST_NAME = 250
# The client reads the key `data` of every answer, and nothing from this one.
DONE = {"data": None}
ARTIFACTS = (
    "check_artifact_blobs",
    "bulk_upload_artifact_blob",
    "artifact_log",
    "log_artifact_use",
    "get_artifact_manifest",
)
NO_ARTIFACTS = (
    "Stillroom keeps no versions of artifacts. It keeps files of a run: log them as an image, a "
    "table or text, or with MLflow's client by log_artifact."
)
Name = Annotated[str, Field(max_length=2000)]
T = TypeVar("T")


class Entry(TypedDict):
    """The fields that every entry has: its run and its time."""

    project: Name
    run: NotRequired[Name | None]
    run_id: NotRequired[Name | None]
    step: NotRequired[int | float | None]
    timestamp: NotRequired[str | None]


class LogEntry(Entry):
    metrics: dict[str, Any]
    config: NotRequired[dict[str, Any] | None]
    log_id: NotRequired[Name | None]


class AlertEntry(Entry):
    title: str
    text: NotRequired[str | None]
    level: NotRequired[str | None]
    alert_id: NotRequired[Name | None]


class UploadedFile(TypedDict):
    path: str
    orig_name: NotRequired[str | None]


class UploadEntry(Entry):
    relative_path: NotRequired[str | None]
    uploaded_file: UploadedFile


# The first error is answered: a million of them would take more memory than the request.
class Logs(TypedDict):
    logs: Annotated[list[LogEntry], FailFast()]


class Alerts(TypedDict):
    alerts: Annotated[list[AlertEntry], FailFast()]


class Uploads(TypedDict):
    uploads: Annotated[list[UploadEntry], FailFast()]


class Call(TypedDict, Generic[T]):
    """The body of a request: the client calls functions of the server by keyword arguments."""

    kwargs: T


# Built once: an adapter compiles its type.
_logs, _alerts = TypeAdapter(Call[Logs]), TypeAdapter(Call[Alerts])
_uploads = TypeAdapter(Call[Uploads])
_entry = TypeAdapter(LogEntry)


def bulk_log(prefix: str, request: Request) -> LogAnswer:
    """Store metrics under names that begin with `prefix`.

    Metrics of the machine (SYSTEM) have no step: they are stored at the current step of the run.
    """
    entries = _read(_logs, request)["kwargs"]["logs"]
    return LogAnswer([_measured(request, entry, prefix) for entry in entries], DONE)


def bulk_alert(request: Request) -> LogAnswer:
    batches = []
    for entry in _read(_alerts, request)["kwargs"]["alerts"]:
        message = ": ".join(filter(None, [entry["title"], entry.get("text")]))
        level = LEVELS.get(entry.get("level") or "warn", "warning")
        batches.append(
            _line(request, entry, level, message, "alert", entry.get("alert_id") or message)
        )
    return LogAnswer(batches, DONE)


def bulk_upload_media(request: Request) -> LogAnswer:
    """Store the files that `upload` has received under their runs.

    What cannot be kept is named in the run's log. A refusal would make the client try again for
    ever.
    """
    batches = []
    for entry in _read(_uploads, request)["kwargs"]["uploads"]:
        file = entry["uploaded_file"]
        name = storable(file.get("orig_name") or "unnamed")
        # `trackio.save` names no run: its files belong to the project.
        path = (
            trackio_files.media_path(entry.get("step"), name)
            if entry.get("run")
            else safe_path("files", *_folder(entry), name)
        )
        address = _address(request, entry, entry.get("run") or "files")
        try:
            stored = trackio_files.uploaded(address.team_id, file.get("path"), path)
            batches.append(ClientBatch(address, files=[stored]))
        except FileRefused as problem:
            line = refusal_line(f"{address.project}/{address.key}", path, str(problem), None)
            batches.append(ClientBatch(address, lines=[line]))
    return LogAnswer(batches, DONE)


def _folder(entry: UploadEntry) -> list[str]:
    path = entry.get("relative_path")
    return [] if path is None or path in ("", ".") else [path]


def refuse_artifacts(request: Request) -> dict[str, Any]:
    """Answer 200 with an error text, because of other codes the client shows only the number."""
    return {"error": NO_ARTIFACTS}


def version(request: Request) -> dict[str, Any]:
    return VERSION


def _read(shape: TypeAdapter[T], request: Request) -> T:
    """Parse the request as `shape`. Raises ValidationError.

    A lone surrogate, as in a file name that is not text, becomes a question mark.
    """
    try:
        return shape.validate_json(request.body)
    except ValidationError:
        # Only an escape such as \ud800 makes a lone surrogate. The slow way below is for these:
        # pydantic refuses them, `json` reads them.
        if rb"\u" not in request.body:
            raise
        try:
            text = json.dumps(json.loads(request.body), ensure_ascii=False)
        except (ValueError, RecursionError):
            text = ""
        if not text or text.isascii():
            raise
        return shape.validate_json(text.encode("utf-8", "replace"))


def _measured(request: Request, entry: LogEntry, prefix: str) -> ClientBatch:
    values, not_numbers = numbers(entry["metrics"], prefix)
    global_step = values.pop(STEP_KEY, None) if not prefix else None
    log_step, notes = (None, []) if prefix else _step(entry, global_step, entry.get("step"))
    wall_time, time_notes = _time(entry)
    # An entry without an id counts once by its content.
    log_id = entry.get("log_id") or json.dumps(entry, sort_keys=True)
    log = LoggedValues(values, log_step, wall_time, digest_id(prefix or "log", log_id))
    params = {
        cut(storable(name), LONGEST_NAME): storable(value)
        for name, value in flat(entry.get("config") or {})
    }
    files = list(trackio_files.files_in(entry["metrics"], log_step, log_id))
    return ClientBatch(
        _address(request, entry),
        [log],
        [*notes, *time_notes],
        params,
        not_kept=frozenset(not_numbers) - {key(file.key) for file in files},
        files=files,
    )


def _line(request: Request, entry: Entry, level: str, message: str, *name: object) -> ClientBatch:
    (log_step, notes), (wall_time, time_notes) = _step(entry, entry.get("step")), _time(entry)
    return ClientBatch(
        _address(request, entry),
        lines=[
            LogLine(
                level,
                storable(message)[:LONGEST_MESSAGE],
                log_step,
                wall_time,
                digest_id(*name, entry.get("run_id"), entry.get("run")),
            ),
            *notes,
            *time_notes,
        ],
    )


def _step(entry: Entry, *candidates: float | None) -> tuple[int | None, list[LogLine]]:
    """The first named step that can be stored, else None; and a log line about one that cannot."""
    steps = [(candidate, step(candidate)) for candidate in candidates if candidate is not None]
    valid_step = next((storable for _, storable in steps if storable is not None), None)
    invalid = next((candidate for candidate, storable in steps if storable is None), None)
    if invalid is None:
        return valid_step, []
    where = (
        "at the step that the run had reached"
        if valid_step is None
        else "at Trackio's own count of steps"
    )
    return valid_step, [
        _note(
            entry,
            "step",
            f"The step {invalid!r:.40} is no whole number between -2^62 and 2^62. What came "
            f"with it stands {where}.",
        )
    ]


def _note(entry: Entry, kind: str, message: str) -> LogLine:
    """A line that a run's log has once per kind."""
    text = f"{message} The run's log says this once."
    return LogLine(
        "warning",
        text,
        None,
        time.time(),
        digest_id("note", kind, entry.get("run_id"), entry.get("run")),
    )


def _address(request: Request, entry: Entry, run: str | None = None) -> RunAddress:
    actor = request.actor
    assert actor.team is not None
    owner = actor.user.pk if actor.user else None
    run = run or entry.get("run") or ""
    return _named(actor.team.pk, owner, entry["project"], run, entry.get("run_id") or "")


# Every entry names its run: the same few addresses are built again and again.
@lru_cache(maxsize=1000)
def _named(team: int, owner: int | None, project: str, run: str, id: str) -> RunAddress:
    name = storable(run or id or "untitled")
    return RunAddress(team, owner, storable(project), CLIENT, storable(id) or f"name:{name}", name)


def _time(entry: Entry) -> tuple[float, list[LogLine]]:
    """The client's time if given, else now; and a log line about an invalid time."""
    stamp = entry.get("timestamp")
    if not stamp:
        return time.time(), []
    try:
        wall_time = datetime.fromisoformat(stamp).timestamp()
        # The first and last hours of the calendar do not exist in every time zone: the time must
        # be one in UTC, as which it is stored.
        datetime.fromtimestamp(wall_time, UTC)
        return wall_time, []
    except (ValueError, OverflowError):
        message = (
            f"The time {storable(stamp)!r:.60} is no moment of the calendar. What came with "
            f"it has the time at which it arrived."
        )
        return time.time(), [_note(entry, "time", message)]


def _of_backlog(prefix: str, request: Request, entry: Any) -> ClientBatch:
    return _measured(request, _entry.validate_python(entry), prefix)


# Addresses whose requests may be too long for memory, and how an entry of each is read: the client
# sends everything that it could not deliver as one request.
BACKLOGS = {
    "/api/bulk_log": partial(_of_backlog, ""),
    "/api/bulk_log_system": partial(_of_backlog, SYSTEM),
}
ROUTES: dict[tuple[str, str], Route] = {
    ("GET", "/version"): ReadRoute(version, action=None),
    ("POST", "/api/bulk_log"): LogRoute(partial(bulk_log, "")),
    ("POST", "/api/bulk_log_system"): LogRoute(partial(bulk_log, SYSTEM)),
    ("POST", "/api/bulk_alert"): LogRoute(bulk_alert),
    ("POST", "/api/bulk_upload_media"): LogRoute(bulk_upload_media),
    ("POST", "/api/upload"): FileRoute(trackio_files.upload, trackio_files.longest_body),
    **{("POST", f"/api/{name}"): ReadRoute(refuse_artifacts) for name in ARTIFACTS},
    **trackio_read.ROUTES,
}
