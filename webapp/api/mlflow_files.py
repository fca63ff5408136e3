"""Files of MLflow's clients: its proxy for artifacts, and the list of a run's artifacts.

An artifact URI is `mlflow-artifacts:/<experiment>/<run>/artifacts`, or for the files of a model
`…/<run>/logged_models/<number>/artifacts`. Clients append the path of a file.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import Http404

from webapp.api.mlflow_lookup import find_run
from webapp.api.mlflow_types import RunRequest, files_of, read
from webapp.api.requests import ApiError, FileAnswer, FileRoute, ReadRoute, Request, Route, Upload
from webapp.clients import run_files
from webapp.clients.client_batch import LoggedFile
from webapp.library import artifacts
from webapp.runs.models import Run

PREFIX = "/api/2.0/mlflow-artifacts/"
FILES = PREFIX + "artifacts"
ONE = FILES + "/{path}"
# Where the files of a run's models are among its files.
MODELS = "logged_models"
# What MLflow's client expects of a server that takes large files in one piece only.
NO_MULTIPART = "Multipart upload is not supported for the current artifact repository"


def upload(request: Request, upload: Upload) -> dict[str, Any]:
    """Store a file; one at the same path is replaced, as in MLflow."""
    run, path = _place(request, request.query["path"])
    if not path:
        raise ApiError(400, "INVALID_PARAMETER_VALUE", "The path names a run, and no file of it.")
    run_files.put(run, LoggedFile(path), upload.file, upload.size)
    return {}


def download(request: Request) -> FileAnswer:
    run, path = _place(request, request.query["path"])
    file = run.files.select_related("artifact").filter(path=path).first()
    if file is None or file.artifact is None:
        raise _missing(path)
    return FileAnswer(artifacts.open(run.team, file.artifact.sha256), file.artifact.size)


def delete(request: Request) -> dict[str, Any]:
    """Delete a file, or a folder with all its files."""
    run, path = _place(request, request.query["path"])
    run_files.remove(run, path)
    return {}


def list_files(request: Request) -> dict[str, Any]:
    """List a folder of the proxy; each name is relative to it."""
    run, path = _place(request, request.query.get("path", ""))
    return {"files": _listed(run, path, "")}


def list_artifacts(request: Request) -> dict[str, Any]:
    """List a folder of a run; each name is relative to the run."""
    run = find_run(request, read(RunRequest, request.query).run_id)
    path = request.query.get("path", "").strip("/")
    path = run_files.checked_path(path) if path else ""
    return {
        "root_uri": f"{files_of(run.origin)}/artifacts",
        "files": _listed(run, path, f"{path}/" if path else ""),
    }


def refuse_parts(request: Request) -> None:
    """Refuse an upload in parts; the client then sends the file in one piece."""
    raise ApiError(404, "NOT_IMPLEMENTED", NO_MULTIPART)


def known_path(path: str) -> tuple[str, dict[str, str]]:
    """Return the path of a file as ROUTES has it, and the value of its placeholder."""
    if path.startswith(f"{FILES}/"):
        return ONE, {"path": path.removeprefix(f"{FILES}/")}
    kind, _, location = path.removeprefix(PREFIX).partition("/")
    return (PREFIX + kind, {}) if kind in ("mpu", "presigned") and location else (path, {})


def _place(request: Request, location: str) -> tuple[Run, str]:
    """Return the run of a location in the proxy, and the path in it; "" is the run itself.

    Raises Http404 and FileRefused.
    """
    experiment_id, _, rest = location.strip("/").partition("/")
    run_id, _, rest = rest.partition("/")
    run = find_run(request, run_id)
    kind, _, path = rest.partition("/")
    if experiment_id != str(run.origin.project_id) or kind not in ("artifacts", MODELS):
        raise Http404("no such place for files")
    path = path if kind == "artifacts" else rest
    return run, run_files.checked_path(path) if path else ""


def _listed(run: Run, folder: str, prefix: str) -> list[dict[str, Any]]:
    """List what is directly in a folder: files with their sizes, and folders."""
    beginning = f"{folder}/" if folder else ""
    files = run.files.filter(path__startswith=beginning, artifact__isnull=False)
    entries: dict[str, dict[str, Any]] = {}
    for path, size in files.values_list("path", "artifact__size").order_by("path"):
        name, _, rest = path.removeprefix(beginning).partition("/")
        entry = {"path": prefix + name, "is_dir": bool(rest)}
        entries[name] = entry if rest else {**entry, "file_size": size}
    return list(entries.values())


def _missing(path: str) -> ApiError:
    return ApiError(404, "RESOURCE_DOES_NOT_EXIST", f"No such artifact: {path[:200]!r}")


ROUTES: dict[tuple[str, str], Route] = {
    ("GET", FILES): ReadRoute(list_files),
    ("PUT", ONE): FileRoute(upload, lambda: settings.STILLROOM_FILE_BYTES),
    ("GET", ONE): ReadRoute(download),
    ("DELETE", ONE): ReadRoute(delete, "edit"),
    ("GET", "/api/2.0/mlflow/artifacts/list"): ReadRoute(list_artifacts),
    ("POST", PREFIX + "mpu"): ReadRoute(refuse_parts, "start"),
    ("GET", PREFIX + "presigned"): ReadRoute(refuse_parts),
}
