"""Images, tables and other files that Trackio's client logs.

The client sends a file, then names it with its run and step; the log that has its key and caption
comes in a third request, before or after. A file that is refused would make the client send it
again with every start, so it is read, left out, and named in the run's log.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core import signing
from django.core.exceptions import SuspiciousOperation
from django.core.files.uploadedfile import UploadedFile
from django.core.files.uploadhandler import TemporaryFileUploadHandler
from django.http.multipartparser import MultiPartParser, MultiPartParserError

from webapp.api.requests import ApiError, Request, Upload
from webapp.clients import run_files
from webapp.clients.client_batch import LoggedFile
from webapp.clients.run_files import safe_path
from webapp.clients.values import flat
from webapp.library import artifacts
from webapp.runs.event_rows import storable

# The parts of a body around its file.
FRAME_BYTES = 2**16
SALT = "trackio-upload"
# An upload is named right after it; what nobody names is deleted after an hour.
NAMED_WITHIN_SECONDS = 1800
MEDIA = ("trackio.image", "trackio.video", "trackio.audio", "trackio.html", "trackio.object3d")
TABLE, MARKDOWN = "trackio.table", "trackio.markdown"


def longest_body() -> int:
    return int(settings.STILLROOM_FILE_BYTES) + FRAME_BYTES


def upload(request: Request, upload: Upload) -> dict[str, Any]:
    """Store a file, and answer with what `bulk_upload_media` calls it by."""
    team = request.actor.team
    assert team is not None
    if not upload.is_whole:
        return {"paths": [_signed(team.pk, "", upload.size)]}
    fields = {"CONTENT_TYPE": upload.content_type, "CONTENT_LENGTH": str(upload.size)}
    try:
        stream: Any = upload.file
        _, files = MultiPartParser(fields, stream, [TemporaryFileUploadHandler()], "utf-8").parse()
        file = files.get("files")
    # The second one: the form has more or longer parts than Django takes.
    except (MultiPartParserError, SuspiciousOperation):
        file = None
    if not isinstance(file, UploadedFile):
        raise ApiError(
            400, "INVALID_PARAMETER_VALUE", "A file is sent as the part `files` of a form."
        )
    size = file.size or 0
    with file.open() as content:
        is_kept = size <= settings.STILLROOM_FILE_BYTES
        sha256 = artifacts.put(content, team).sha256 if is_kept else ""
    return {"paths": [_signed(team.pk, sha256, size)]}


def uploaded(team_id: int, token: object, path: str) -> LoggedFile:
    """Return the file that an upload of the team has stored, for `path`.

    Raises FileRefused if it was too large, ApiError if there is no such upload.
    """
    try:
        team, sha256, size = signing.loads(
            storable(str(token)), salt=SALT, max_age=NAMED_WITHIN_SECONDS
        )
    except signing.BadSignature:
        team = None
    if team != team_id:
        raise ApiError(
            400,
            "INVALID_PARAMETER_VALUE",
            "The path of an uploaded file is not one that this server gave lately. Send the file "
            "again.",
        )
    if not sha256:
        run_files.check_size(path, size)
    return LoggedFile(path, sha256=sha256)


def files_in(metrics: dict[str, Any], step: int | None, log_id: str) -> Iterator[LoggedFile]:
    """Yield the tables and texts of a log, and the keys and captions of its media."""
    # Most logs are numbers only.
    if not any(isinstance(value, dict) for value in metrics.values()):
        return
    for key, value in flat(metrics):
        kind = value.get("_type") if isinstance(value, dict) else None
        if kind in MEDIA:
            yield from _media(value, key, step)
        elif kind == TABLE and isinstance(value.get("_value"), list):
            rows = json.dumps(storable(value["_value"]), ensure_ascii=False)
            yield _written(rows, key, ".json", step, log_id)
            for row in value["_value"]:
                for cell in row.values() if isinstance(row, dict) else ():
                    for item in cell if isinstance(cell, list) else [cell]:
                        if isinstance(item, dict) and item.get("_type") in MEDIA:
                            yield from _media(item, key, step)
        elif kind == MARKDOWN and isinstance(value.get("_value"), str):
            yield _written(storable(value["_value"]), key, ".md", step, log_id)


def media_path(step: object, name: str) -> str:
    """Return where a media file of that step is among the files of its run."""
    return safe_path("media", *([] if step is None else [str(step)]), name.rpartition("/")[2])


def _media(value: dict[str, Any], key: str, step: int | None) -> Iterator[LoggedFile]:
    # `<project>/<run>/<step>/<name>`, written on whatever system the client runs on.
    folder, _, name = str(value.get("file_path")).replace("\\", "/").rpartition("/")
    caption = value.get("caption")
    yield LoggedFile(
        media_path(folder.rpartition("/")[2], name),
        key=storable(key),
        caption=caption if isinstance(caption, str) else "",
        step=step,
    )


def _written(text: str, key: str, suffix: str, step: int | None, log_id: str) -> LoggedFile:
    name = log_id[:40] if step is None else str(step)
    folder = "tables" if suffix == ".json" else "texts"
    path = safe_path(folder, key, name + suffix)
    return LoggedFile(path, text.encode(), key=storable(key), step=step)


def _signed(*facts: object) -> str:
    return signing.dumps(facts, salt=SALT)
