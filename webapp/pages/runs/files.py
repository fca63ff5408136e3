"""The Files tab of a run that a client logged or that was imported, and the download of a file."""

from __future__ import annotations

from pathlib import PurePosixPath

from django.core.paginator import Paginator
from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.utils.http import urlencode
from django.views.decorators.http import require_safe

from webapp.access import permissions
from webapp.access.actors import actor_of
from webapp.base.view_marks import slow
from webapp.clients import file_previews
from webapp.clients.models import RunFile
from webapp.library import artifacts
from webapp.pages.query_numbers import bigint
from webapp.pages.runs.run_page import render_tab, requested_run
from webapp.runs.models import Run

PAGE_SIZE = 100
# A file is content of whoever logged it: nothing in it may run, load or be framed.
POLICY = "default-src 'none'; sandbox; frame-ancestors 'none'"


@slow
@require_safe
def files(request: HttpRequest, run_id: str) -> HttpResponse:
    """List the files of a run by path, and show a part of one of them."""
    run = requested_run(request, run_id, "download")
    stored = run.files.filter(artifact__isnull=False).select_related("artifact").order_by("path")
    page = Paginator(stored, PAGE_SIZE).get_page(request.GET.get("page"))
    # Postgres does not accept NUL characters in a query.
    name = request.GET.get("file", "").replace("\0", "")
    shown = stored.filter(path=name).first() if name else next(iter(page), None)
    if name and shown is None:
        raise Http404("the run has no such file")
    preview = _preview(run, shown, bigint(request.GET.get("rows", "")) or 1) if shown else None
    context = {
        "page": page,
        "has_steps": any(file.step is not None for file in page),
        "shown": shown,
        "preview": preview,
        "query": urlencode({"file": name}) if name else "",
        "pages": _pages_of_table(preview),
    }
    return render_tab(request, run, "files", "files.html", context)


@require_safe
def run_file(request: HttpRequest, run_id: str, path: str) -> FileResponse:
    """Send a file: images for the page, with `download` and all else as an attachment."""
    file = permissions.find(
        actor_of(request),
        "download",
        RunFile,
        run__public_id=run_id,
        path=path,
        artifact__isnull=False,
    )
    assert file.artifact is not None
    try:
        stream = artifacts.open(file.run.team, file.artifact.sha256)
    except FileNotFoundError:
        raise Http404("its bytes are not in the artifact store") from None
    kind = file_previews.image_type(stream.read(file_previews.HEAD_BYTES))
    stream.seek(0)
    response = FileResponse(
        stream,
        as_attachment=not kind or "download" in request.GET,
        filename=PurePosixPath(path).name,
        content_type=kind or "application/octet-stream",
    )
    response["Content-Security-Policy"] = POLICY
    response["X-Content-Type-Options"] = "nosniff"
    return response


def _preview(run: Run, file: RunFile, page: int) -> file_previews.Preview | None:
    """Return what is shown of a file; None if its bytes are gone."""
    assert file.artifact is not None
    try:
        with artifacts.open(run.team, file.artifact.sha256) as stream:
            return file_previews.preview(stream, file.path, file.artifact.size, page)
    except FileNotFoundError:
        return None


def _pages_of_table(preview: file_previews.Preview | None) -> dict[str, int]:
    """Return the first and last row that are shown, and the pages before and after, 0 for none."""
    if preview is None or preview.kind != "table":
        return {}
    size = file_previews.ROWS_OF_PAGE
    first = (preview.page - 1) * size
    return {
        "first": first + 1,
        "last": first + len(preview.rows),
        "before": preview.page - 1,
        "after": preview.page + 1 if first + size < preview.row_count else 0,
    }
