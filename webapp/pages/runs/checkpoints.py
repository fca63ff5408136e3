"""The stored checkpoints of a run, and their download as one streamed zip file."""

from __future__ import annotations

import io
import zipfile
from collections.abc import AsyncIterator, Iterator

from asgiref.sync import sync_to_async
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.views.decorators.http import require_safe

from webapp.access import access
from webapp.library import artifacts
from webapp.pages.runs.run_page import render_tab, requested_run
from webapp.runs import branches
from webapp.runs.models import Checkpoint, Run

CHUNK = 2**20
SHOWN = (
    "eval/pass_rate",
    "retained/pass_rate",
    "pass_rate/train",
    "loss",
    "divergence/mean",
    "entropy/mean",
)


@access.shown_to_guests
@require_safe
def checkpoints(request: HttpRequest, run_id: str) -> HttpResponse:
    run = requested_run(request, run_id)
    stored = run.checkpoints.filter(branches.on_live_branch(run)).order_by("-step", "-attempt")
    rows = [
        (one, [(key, one.metrics[key]) for key in SHOWN if key in one.metrics]) for one in stored
    ]
    best = next(
        (one.pk for one in stored if one.best), None
    )  # the newest: each was the best when it was made
    return render_tab(
        request, run, "checkpoints", "checkpoints.html", {"checkpoints": rows, "best": best}
    )


@require_safe
def download(request: HttpRequest, run_id: str, step: int) -> StreamingHttpResponse:
    run = requested_run(request, run_id, "download")
    checkpoint = (
        run.checkpoints.filter(branches.on_live_branch(run), step=step).order_by("-attempt").first()
    )
    if checkpoint is None:
        raise Http404("no such checkpoint")
    response = StreamingHttpResponse(
        _off_thread(zipped(run, checkpoint)), content_type="application/zip"
    )
    response["Content-Disposition"] = f'attachment; filename="{run.public_id}-step-{step}.zip"'
    return response


def zipped(run: Run, checkpoint: Checkpoint) -> Iterator[bytes]:
    """The bytes of a zip file with every file of the checkpoint, stored as they are: weights do not
    compress.
    """
    sink = Outlet()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:
        for name, entry in sorted(checkpoint.manifest.items()):
            with (
                artifacts.open(run.team, entry["sha256"]) as source,
                archive.open(name, "w", force_zip64=True) as target,
            ):
                while chunk := source.read(CHUNK):
                    target.write(chunk)
                    yield sink.take()
    yield sink.take()


class Outlet(io.RawIOBase):
    """A place to write to that can be emptied: it makes a stream of what `zipfile` writes."""

    def __init__(self) -> None:
        self._waiting = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        block = bytes(memoryview(data))  # type: ignore[arg-type]
        self._waiting += block
        return len(block)

    def take(self) -> bytes:
        block = bytes(self._waiting)
        self._waiting.clear()
        return block


async def _off_thread(blocks: Iterator[bytes]) -> AsyncIterator[bytes]:
    while (block := await sync_to_async(lambda: next(blocks, None))()) is not None:
        yield block
